"""What goes on, and what is refused, when a run is resumed with other options, other data or after a divergence."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from support.states import differing
from support.training import FOLDERS, SMALLEST, trained, trainer, words

from models.errors import CheckpointError, Diverged, ModelError, OptionsError
from models.recipes.recipe import Recipe
from models.training.run import load, open_run, saved
from models.training.start import describe, prepare, start


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def steps(run: Path) -> list[int]:
    """The steps of the checkpoints that are there, newest first."""
    return [int(path.stem) for path in saved(run / "checkpoints")]


def contents(run: Path) -> dict[Path, bytes]:
    """All files of a run."""
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def renamed(folder: Path, data: Path, *, domains: str) -> Path:
    """A copy of a labelled set whose domains.txt says something else."""
    copy = shutil.copytree(data, folder)
    (copy / "domains.txt").write_text(domains + "\n")
    return copy


@pytest.mark.parametrize(
    ("domains", "now"),
    [
        ("hue=red|green,dull", "hue=red, hue=green, dull"),
        ("bright,hue=red|green", "bright, hue=red, hue=green"),
        ("red,green,bright", "red, green, bright"),
    ],
    ids=["other names", "another order", "no groups"],
)
def test_other_domains_are_refused_with_both(domains: str, now: str, labelled_set: Path, tmp_path: Path) -> None:
    """As many columns that mean something else would be trained on; the run stays as it was."""
    trained("stargan", labelled_set, tmp_path / "run", 2)
    before = (tmp_path / "run" / "config.json").read_text()
    data = renamed(tmp_path / "data", labelled_set, domains=domains)
    table = data / "list_attr_toy.txt"
    table.write_text(table.read_text().replace(" bright", " dull") if "dull" in domains else table.read_text())
    message = f"run has learned the domains hue=red, hue=green, bright, and the data now have {now}; "
    with pytest.raises(OptionsError, match=message):
        trainer("stargan", data, tmp_path / "run", 4, resume=True)
    assert (tmp_path / "run" / "config.json").read_text() == before


def test_sides_that_changed_places_are_refused(unpaired_set: Path, tmp_path: Path) -> None:
    """CycleGAN's generators would each learn the other's work."""
    trained("cyclegan", unpaired_set, tmp_path / "run", 2, "domains=night,day")
    with pytest.raises(OptionsError, match="has learned the domains night, day, and the data now have day, night"):
        trainer("cyclegan", unpaired_set, tmp_path / "run", 4, "domains=day,night", resume=True)


def test_another_direction_is_refused(pair_set: Path, tmp_path: Path) -> None:
    """pix2pix would have to unlearn which half is the input."""
    trained("pix2pix", pair_set, tmp_path / "run", 2)
    with pytest.raises(OptionsError, match="run was begun with direction=AtoB, which can't become BtoA"):
        trainer("pix2pix", pair_set, tmp_path / "run", 4, "direction=BtoA", resume=True)


def test_averages_begin_where_they_are_asked_for(labelled_set: Path, tmp_path: Path) -> None:
    """`--resume --set average=0.9` follows the weights from the checkpoint on, and `average=0` forgets them again."""
    trained("stargan", labelled_set, tmp_path / "run", 2, "average=0")
    begun = trainer("stargan", labelled_set, tmp_path / "run", 4, "average=0.9", resume=True)
    assert differing(begun.averages.weights["generator"], begun.recipe.networks["generator"].state_dict()) == []
    begun.train(lambda progress: None)
    assert differing(begun.averages.weights["generator"], begun.recipe.networks["generator"].state_dict()) != []
    assert trained("stargan", labelled_set, tmp_path / "run", 5, "average=0", resume=True).step == 5


def test_a_network_that_the_run_never_had_is_said(pair_set: Path, tmp_path: Path) -> None:
    """L1 alone has no discriminator whose training could go on; the error names it."""
    trained("pix2pix", pair_set, tmp_path / "run", 2, "adversarial=0")
    with pytest.raises(CheckpointError, match="the checkpoint has no network discriminator; keep the run's options"):
        trainer("pix2pix", pair_set, tmp_path / "run", 4, "adversarial=1", resume=True)


def test_another_size_begins_with_an_empty_pool(unpaired_set: Path, tmp_path: Path) -> None:
    """CycleGAN takes any size; pictures of the old one can't stand beside new ones in a batch."""
    trained("cyclegan", unpaired_set, tmp_path / "run", 3, "size=64")
    made = trained("cyclegan", unpaired_set, tmp_path / "run", 6, "size=32", resume=True)
    pools = made.recipe.state()
    assert {tuple(picture.shape) for pool in pools.values() for picture in pool} == {(3, 32, 32)}


def test_options_that_fail_at_once_leave_the_run_as_it_was(labelled_set: Path, tmp_path: Path) -> None:
    """A weight that makes the first loss infinite spoils neither config nor checkpoint nor log: nothing changes."""
    trained("stargan", labelled_set, tmp_path / "run", 2)
    before = contents(tmp_path / "run")
    failing = trainer("stargan", labelled_set, tmp_path / "run", 4, "classification=3e38", "penalty=3e38", resume=True)
    with pytest.raises(Diverged, match=r"at step 2, phase critic: term \w+ is inf"):
        failing.train(lambda progress: None)
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("rate", ["1e38", "1e30", "1e8"])
@pytest.mark.parametrize("kept", [1, 3])
def test_after_a_divergence_the_newest_checkpoint_is_sound(
    rate: str, kept: int, labelled_set: Path, tmp_path: Path
) -> None:
    """Whether an update left infinite weights or absurd ones, the run goes on from its last checkpoint."""
    more = ("save_every=1", f"checkpoints={kept}")
    trained("stargan", labelled_set, tmp_path / "run", 2, *more)
    with pytest.raises(Diverged, match="then resume from the last checkpoint, or from an earlier one with --from-step"):
        trained("stargan", labelled_set, tmp_path / "run", 30, *more, f"rate={rate}", resume=True)
    for path in saved(tmp_path / "run" / "checkpoints"):
        assert all(w.isfinite().all() for network in load(path)["networks"].values() for w in network.values())
    assert trained("stargan", labelled_set, tmp_path / "run", 8, "rate=1e-4", resume=True).step == 8


def test_weights_that_are_spoilt_at_the_end_are_not_saved(labelled_set: Path, tmp_path: Path) -> None:
    """No further step would find them: the last update's weights are looked at before they are saved."""
    made = trainer("stargan", labelled_set, tmp_path / "run", 1, "rate=1e39")
    with pytest.raises(Diverged, match=r"at step 1, the .* not finite"):
        made.train(lambda progress: None)
    assert steps(tmp_path / "run") == []


def test_a_run_goes_on_from_an_earlier_step(labelled_set: Path, tmp_path: Path) -> None:
    """A resume from step 2 of 6 gives the bits of a run that never went further, and removes what came after."""
    trained("stargan", labelled_set, tmp_path / "run", 6, "save_every=2", "checkpoints=9")
    again = prepare("stargan", labelled_set, tmp_path / "run", None, words("stargan", 4), resume=True, from_step=2)
    assert describe(again)[0].endswith("goes on at step 2")
    assert steps(tmp_path / "run") == [6, 4, 2]
    made = start("stargan", labelled_set, tmp_path / "run", None, words("stargan", 4), True, 2)
    made.train(lambda progress: None)
    assert steps(tmp_path / "run") == [4, 2]
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]
    trained("stargan", labelled_set, tmp_path / "whole", 4)
    one, other = (open_run(tmp_path / name).latest() for name in ("run", "whole"))
    assert one is not None
    assert other is not None
    assert differing(one["networks"], other["networks"]) == []


@pytest.mark.parametrize(
    ("resume", "message"),
    [(True, "has no checkpoint of step 3; it has 4, 2"), (False, "--from-step 3 needs --resume")],
)
def test_a_step_that_can_not_be_gone_on_from_is_refused(
    resume: bool, message: str, labelled_set: Path, tmp_path: Path
) -> None:
    """The steps that there are, or the option that is missing, are named."""
    trained("stargan", labelled_set, tmp_path / "run", 4, "save_every=2")
    out = tmp_path / ("run" if resume else "new")
    with pytest.raises(ModelError, match=message):
        start("stargan", labelled_set, out, None, words("stargan", 6), resume, 3)


def test_a_large_seed_trains(labelled_set: Path, tmp_path: Path) -> None:
    """Any seed of 63 bits is taken, in every draw; a larger one is refused by name and limit."""
    assert trained("stargan", labelled_set, tmp_path / "run", 2, f"seed={2**63 - 1}").step == 2
    with pytest.raises(OptionsError, match=r"option seed='9223372036854775808': .* less than 9223372036854775808"):
        trainer("stargan", labelled_set, tmp_path / "new", 2, f"seed={2**63}")


def test_a_cpu_says_that_it_has_no_float16(
    labelled_set: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """16-mixed on a CPU is computed as bf16-mixed, to the bit, and a warning says so."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU, which computes in float16")
    with caplog.at_level(logging.WARNING):
        half = trained("stargan", labelled_set, tmp_path / "half", 2, "precision=16-mixed")
    assert "this CPU computes in bfloat16" in caplog.text
    brain = trained("stargan", labelled_set, tmp_path / "brain", 2, "precision=bf16-mixed")
    assert half.losses == brain.losses


@pytest.mark.parametrize("case", SMALLEST)
def test_runs_of_the_first_versions_go_on(case: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A run in the first versions' format resumes with the bits of a run in today's."""
    data = request.getfixturevalue(FOLDERS[case])
    whole = trained(case, data, tmp_path / "whole", 4, "save_every=2", "checkpoints=9")
    content = load(tmp_path / "whole" / "checkpoints" / "00000002.ckpt")
    old = tmp_path / "old"
    (old / "checkpoints").mkdir(parents=True)
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    del config["stages"]
    (old / "config.json").write_text(json.dumps(config))
    torch.save(
        {
            "recipe": whole.recipe.name,
            "step": 2,
            "networks": {name: dict(weights) for name, weights in content["networks"].items()},
            "averages": {name: dict(weights) for name, weights in content["averages"].items()},
            "optimizers": {
                phase: {
                    "state": {place: dict(kept) for place, kept in state["state"].items()},
                    "param_groups": [dict(group) for group in state["param_groups"]],
                }
                for phase, state in content["optimizers"].items()
            },
            "state": {side: list(pictures) for side, pictures in content["state"].items()},
        },
        old / "checkpoints" / "00000002.ckpt",
    )
    resumed = trained(case, data, old, 4, resume=True)
    ends = [torch.load(run / "checkpoints" / "00000004.ckpt") for run in (old, tmp_path / "whole")]
    losses = [end.pop("losses") for end in ends]
    assert losses[0].items() <= losses[1].items()
    assert differing(*ends) == []
    assert isinstance(resumed.recipe, Recipe)
