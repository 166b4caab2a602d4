"""The loop stops, resumes and refuses as it should; kills are real."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

import pytest
import torch
from support.training import trained, trainer, words
from torch import Tensor

from models.errors import CheckpointError, Diverged, OptionsError, RunError
from models.training.loop import Progress
from models.training.run import Checkpoint, load, open_run, save, saved


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def kill_after_first_checkpoint(data: Path, out: Path) -> None:
    """Trains in a process of its own and kills it with -9 as soon as a checkpoint is there."""
    options = [word for pair in words("stargan", 500, "save_every=2") for word in ("--set", pair)]
    command = [sys.executable, "-m", "recast", "train", "stargan", "--data", data, "--out", out, *options]
    process = subprocess.Popen(
        [str(word) for word in command], env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL
    )
    try:
        patience = time.monotonic() + 100
        while not saved(out / "checkpoints"):
            assert process.poll() is None, "the training ended by itself"
            assert time.monotonic() < patience, "no checkpoint appeared"
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_a_killed_and_resumed_run_has_the_bits_of_one_that_never_stopped(labelled_set: Path, tmp_path: Path) -> None:
    """kill -9 in the middle, then --resume: the final weights are those of an undisturbed run, bit for bit."""
    kill_after_first_checkpoint(labelled_set, tmp_path / "killed")
    reached = open_run(tmp_path / "killed").latest()
    assert reached is not None
    steps = int(reached["step"]) + 3
    trained("stargan", labelled_set, tmp_path / "killed", steps, resume=True)
    trained("stargan", labelled_set, tmp_path / "whole", steps)
    killed, whole = (open_run(tmp_path / name).latest() for name in ("killed", "whole"))
    assert killed is not None
    assert whole is not None
    assert all(
        torch.equal(tensor, killed["networks"][network][name])
        for network, weights in whole["networks"].items()
        for name, tensor in weights.items()
    )


def test_a_half_written_checkpoint_is_passed_over(labelled_set: Path, tmp_path: Path) -> None:
    """The newest file may be torn by a crash of the disk; the one before it is loaded."""
    trained("stargan", labelled_set, tmp_path / "run", 4, "save_every=2")
    newest, older = saved(tmp_path / "run" / "checkpoints")
    newest.write_bytes(newest.read_bytes()[:1000])
    content = open_run(tmp_path / "run").latest()
    assert content is not None
    assert content["step"] == int(older.stem)


def test_when_no_checkpoint_can_be_read_nothing_is_overwritten(labelled_set: Path, tmp_path: Path) -> None:
    """A resume over torn checkpoints stops with the file's name instead of beginning anew."""
    trained("stargan", labelled_set, tmp_path / "run", 2)
    (only,) = saved(tmp_path / "run" / "checkpoints")
    only.write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="is not a readable checkpoint"):
        trainer("stargan", labelled_set, tmp_path / "run", 4, resume=True)


def toy(step: int, weights: object = None) -> Checkpoint:
    """A checkpoint of two weights, or of what is given in their place."""
    content = {"w": torch.ones(2) if weights is None else cast(Tensor, weights)}
    return Checkpoint(
        recipe="stargan",
        step=step,
        losses={},
        networks={"g": content},
        averages={},
        optimizers={},
        precision={},
        state={},
    )


def test_a_failed_save_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    """What cannot be pickled stops the save; the file that was there stays, and loads."""
    path = save(tmp_path, toy(1))
    with pytest.raises(Exception, match="pickle"):
        save(tmp_path, toy(1, lambda: None))
    assert torch.equal(load(path)["networks"]["g"]["w"], torch.ones(2))


def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path) -> None:
    """The error names the file, the reason, the room and what is left; the earlier checkpoint stays, no scrap does."""
    path = save(tmp_path, toy(1))
    message = r"00000002\.ckpt can't be written: .+, \d+ MB are free; .+, the last good checkpoint is 00000001\.ckpt$"
    with full_disk(100_000), pytest.raises(RunError, match=message):
        save(tmp_path, toy(2, torch.ones(1_000_000)))
    assert list(tmp_path.iterdir()) == [path]
    assert torch.equal(load(path)["networks"]["g"]["w"], torch.ones(2))


def test_a_training_that_met_a_full_disk_goes_on_from_its_last_checkpoint(labelled_set: Path, tmp_path: Path) -> None:
    """The disk fills between two saves; with room again, the resumed run ends with the bits of an undisturbed one."""
    made = trainer("stargan", labelled_set, tmp_path / "run", 6, "save_every=2")
    with ExitStack() as fills, pytest.raises(RunError, match=r"the last good checkpoint is 00000002\.ckpt"):
        made.train(lambda now: fills.enter_context(full_disk(20_000)) if now.step == 3 else None)
    resumed = trained("stargan", labelled_set, tmp_path / "run", 6, resume=True)
    whole = trained("stargan", labelled_set, tmp_path / "whole", 6)
    for name, network in whole.recipe.networks.items():
        assert all(map(torch.equal, network.parameters(), resumed.recipe.networks[name].parameters()))


def test_metrics_that_can_not_be_written_stop_the_training(labelled_set: Path, tmp_path: Path) -> None:
    """A disk that is full between checkpoints is an error that names the run, too, and not a silent gap."""
    made = trainer("stargan", labelled_set, tmp_path / "run", 6)
    with ExitStack() as fills, pytest.raises(RunError, match=r"run can't be written: .+; make room and resume"):
        made.train(lambda now: fills.enter_context(full_disk(1)) if now.step == 3 else None)


def test_an_interrupted_save_leaves_no_scrap(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a save leaves no scrap; after a kill the next save removes it."""
    path = save(tmp_path, toy(1))
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, toy(2, Interrupts()))
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / "00000002.tmp").write_bytes(b"killed")
    assert saved(tmp_path) == [path]
    newer = save(tmp_path, toy(3))
    assert set(tmp_path.iterdir()) == {path, newer}


class Interrupts:
    """Ctrl-C, as soon as it is saved."""

    def __reduce__(self) -> str:
        raise KeyboardInterrupt


@contextmanager
def full_disk(most: int) -> Iterator[None]:
    """No file can grow beyond `most` bytes; the system refuses as it does on a full disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    """Only tensors and plain data are loaded; a pickled object is not."""
    path = tmp_path / "evil.ckpt"
    torch.save({"recipe": "stargan", "step": 1, "networks": {}, "evil": Path("x")}, path)
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load(path)


def test_a_checkpoint_of_another_recipe_is_refused(labelled_set: Path, tmp_path: Path) -> None:
    """A run whose checkpoint says another recipe is not trained on."""
    made = trained("stargan", labelled_set, tmp_path / "run", 2)
    content = made.run.latest()
    assert content is not None
    save(made.run.checkpoints, {**content, "recipe": "cyclegan", "step": 9})
    with pytest.raises(CheckpointError, match="of the recipe cyclegan, not stargan"):
        trainer("stargan", labelled_set, tmp_path / "run", 4, resume=True)


def test_a_run_of_another_width_is_refused(labelled_set: Path, tmp_path: Path) -> None:
    """Resuming with another network names the network and the key that does not fit."""
    trained("stargan", labelled_set, tmp_path / "run", 2)
    with pytest.raises(CheckpointError, match="does not fit the network generator"):
        trainer("stargan", labelled_set, tmp_path / "run", 4, "width=8", resume=True)


def test_a_non_finite_loss_stops_with_step_phase_and_term(labelled_set: Path, tmp_path: Path) -> None:
    """An absurd rate diverges within a few steps; the error says where, and no checkpoint of such weights is kept."""
    made = trainer("stargan", labelled_set, tmp_path / "run", 50, "rate=1e30")
    with pytest.raises(Diverged, match=r"at step \d+, phase (critic|generator): term \w+ is (nan|inf|-inf);"):
        made.train(lambda progress: None)
    assert saved(made.run.checkpoints) == []


def test_a_run_leaves_what_a_person_looks_for(labelled_set: Path, tmp_path: Path) -> None:
    """Config, metrics, TensorBoard events, sample grids and checkpoints lie in the run folder."""
    trained("stargan", labelled_set, tmp_path / "run", 4, "sample_every=2", "save_every=2", "checkpoints=1")
    names = {str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*") if path.is_file()}
    events = {name for name in names if name.startswith("tensorboard/events")}
    assert len(events) == 1
    assert names - events == {
        "config.json", "metrics.jsonl", "samples/00000002.png", "samples/00000004.png", "checkpoints/00000004.ckpt",
    }  # fmt: skip


def test_metrics_of_a_resumed_run_have_no_gap_and_no_double(labelled_set: Path, tmp_path: Path) -> None:
    """Lines after the checkpoint are cut off when a run resumes; each step is logged once."""
    trained("stargan", labelled_set, tmp_path / "run", 5, "save_every=3", "checkpoints=9")
    (tmp_path / "run" / "checkpoints" / "00000005.ckpt").unlink()
    trained("stargan", labelled_set, tmp_path / "run", 6, resume=True)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_progress_tells_losses_and_speed(labelled_set: Path, tmp_path: Path) -> None:
    """Each step reports every phase's terms by `phase/term` and pictures a second."""
    seen: list[Progress] = []
    trainer("stargan", labelled_set, tmp_path / "run", 2).train(seen.append)
    assert [progress.step for progress in seen] == [1, 2]
    assert {"critic/penalty", "generator/reconstruction"} <= seen[-1].losses.keys()
    assert seen[-1].pictures_per_second > 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["widht=4"], "there is no option widht; choose one of .*width"),
        (["batch=many"], "option batch='many'"),
        (["batch=0", "steps=-1"], "option .*batch.*option|option .*steps.*option"),
        (["batch"], "--set wants key=value, not 'batch'"),
    ],
)
def test_bad_options_are_refused_all_at_once(labelled_set: Path, tmp_path: Path, more: list[str], message: str) -> None:
    """Names, types and ranges are checked before anything is written."""
    with pytest.raises(OptionsError, match=message):
        trainer("stargan", labelled_set, tmp_path / "run", 2, *more)
    assert not (tmp_path / "run").exists()


def test_a_used_folder_is_not_trained_over(labelled_set: Path, tmp_path: Path) -> None:
    """A folder with a run is refused without --resume."""
    trained("stargan", labelled_set, tmp_path / "run", 2)
    with pytest.raises(OptionsError, match="is not empty; add --resume"):
        trainer("stargan", labelled_set, tmp_path / "run", 2)
