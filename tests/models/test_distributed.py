"""Several processes train as one: real ones, started by torchrun, which talk through gloo."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest
import torch
from support import ranks
from support.balanced import balanced, k_of
from support.states import differing
from support.training import FOLDERS, trained

from models.errors import OptionsError
from models.training.world import World

TESTS = Path(__file__).parents[1]
RANKS = 2
pytestmark = pytest.mark.timeout(300)  # three processes load PyTorch, which takes a minute where all cores are busy


@pytest.fixture(scope="module")
def sets(request: pytest.FixtureRequest) -> dict[str, Path]:
    """The data of every case."""
    return {case: request.getfixturevalue(fixture) for case, fixture in FOLDERS.items()}


@pytest.fixture(scope="module")
def together(sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes did what support/ranks.py says: `alone` is by one, `grown` half by one and half by two."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "cases.json").write_text(json.dumps({case: str(data) for case, data in sets.items()}))
    for case, data in sets.items():
        trained(case, data, folder / "alone" / case, 4, *ranks.words(case))
        shutil.copytree(folder / "alone" / case, folder / "grown" / case)
        (folder / "grown" / case / "checkpoints" / "00000004.ckpt").unlink()
    said = launched("-m", "support.ranks", str(folder))
    (folder / "said.txt").write_text(said)
    return folder


@pytest.mark.parametrize("case", FOLDERS)
def test_two_processes_have_the_gradients_of_one(
    case: str, sets: dict[str, Path], together: Path, tmp_path: Path
) -> None:
    """Terms and gradients of every phase are those of one process that holds the whole batch."""
    whole = ranks.gradients(case, sets[case], tmp_path / "run")
    for rank in range(RANKS):
        assert ranks.differing(torch.load(together / f"{case}.{rank}.pt"), whole) == []


@pytest.mark.parametrize("case", FOLDERS)
def test_parts_add_up_to_the_gradients_of_the_whole(case: str, sets: dict[str, Path], tmp_path: Path) -> None:
    """With accumulate=4 each picture goes through alone; terms and gradients are those of the whole batch."""
    whole = ranks.gradients(case, sets[case], tmp_path / "whole")
    assert ranks.differing(ranks.gradients(case, sets[case], tmp_path / "parts", "accumulate=4"), whole) == []


@pytest.mark.parametrize("case", FOLDERS)
def test_a_run_goes_on_with_another_number_of_processes(
    case: str, sets: dict[str, Path], together: Path, tmp_path: Path
) -> None:
    """A run that changes between one process and two has the losses of one process."""
    assert losses(together / "grown" / case) == about(losses(together / "alone" / case))
    shutil.copytree(together / "grown" / case, tmp_path / "back")
    trained(case, sets[case], tmp_path / "back", 5, *ranks.words(case), resume=True)
    whole = trained(case, sets[case], tmp_path / "whole", 5, *ranks.words(case))
    assert losses(tmp_path / "back") == about(losses(whole.run.folder))


@pytest.mark.parametrize("case", FOLDERS)
def test_all_processes_hold_the_same_bits(case: str, together: Path) -> None:
    """Both processes have the same weights, averages, running statistics and picture pool after different rows."""
    first, *others = (torch.load(together / f"alike.{case}.{rank}.pt") for rank in range(RANKS))
    assert len(first) > 2
    for other in others:
        assert differing(first, other) == []


@pytest.mark.parametrize("case", FOLDERS)
def test_one_process_alone_writes_the_run(case: str, together: Path) -> None:
    """A run of two processes has the files of a run of one, and each step is logged once."""
    assert files(together / "grown" / case) == files(together / "alone" / case)


def test_a_scalar_state_is_the_same_in_all_processes(sets: dict[str, Path], together: Path, tmp_path: Path) -> None:
    """BEGAN's k, which the averaged terms move, has the same bits in both, and is that of one process."""
    first, second = (torch.load(together / f"balanced.{rank}.pt") for rank in range(RANKS))
    alone = balanced(next(iter(sets.values())), tmp_path / "alone", 6)
    alone.train(lambda progress: None)
    assert first == second
    assert first.item() == pytest.approx(k_of(alone).item(), rel=1e-3)


def test_the_command_line_speaks_once(together: Path) -> None:
    """Of two processes one says that the training is done."""
    assert (together / "said.txt").read_text().count("is trained: 4 steps") == 1


def test_processes_that_see_other_runs_are_refused(together: Path) -> None:
    """Every process names the steps at which they would begin."""
    for rank in range(RANKS):
        said = (together / f"disagreement.{rank}.txt").read_text()
        assert said == "the processes would begin at steps 0, 1; all must see the same run folder"


@pytest.mark.parametrize(("batch", "parts", "multiple"), [(4, 1, 3), (9, 2, 6)])
def test_a_batch_that_can_not_be_dealt_out_is_refused(batch: int, parts: int, multiple: int) -> None:
    """The error names the batch, the processes, the parts and what would fit."""
    world = World(torch.device("cpu"), rank=1, ranks=3)
    with pytest.raises(
        OptionsError, match=f"batch={batch} .* over 3 .* accumulate={parts}; take a multiple of {multiple}"
    ):
        world.rows(batch, parts)
    assert world.rows(12, 2) == range(4, 8)


def launched(*command: str) -> str:
    """What processes under torchrun write to standard output."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={RANKS}"]
    environment = {**os.environ, "PYTHONPATH": f"{TESTS.parent}:{TESTS}", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*launcher, *command], cwd=TESTS.parent, env=environment, stdout=PIPE, stderr=PIPE, text=True
    ) as process:
        try:
            said, complained = process.communicate(timeout=270)
        finally:
            process.terminate()  # and with it what it has started
    assert process.returncode == 0, complained[-4000:]
    return said


def losses(run: Path) -> dict[str, float]:
    """Every term of every step that was logged, by `STEP PHASE/TERM`."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {f"{line['step']} {name}": value for line in lines for name, value in line.items() if "/" in name}


def about(expected: dict[str, float]) -> object:
    """Equal up to rounding, which an optimiser's first steps, all sign, enlarge."""
    return pytest.approx(expected, rel=1e-3, abs=1e-4)


def files(run: Path) -> set[str]:
    """The files of a run, but for TensorBoard's, which are named after the second and the process."""
    return {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file() and "tfevents" not in path.name}
