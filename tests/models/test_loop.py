"""Precision, layouts, kernels, averages and memory: what a training may be told without its numbers going astray."""

import gc
import platform
import resource
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import ranks
from support.states import differing
from support.training import FOLDERS, trained, trainer
from torch import Tensor, nn

from models.networks.layers import per_picture
from models.training.history import grid
from models.training.loop import Progress
from models.training.step import Autocast, Averages
from models.training.world import keep_freed


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("case", FOLDERS)
def test_the_memory_layout_changes_nothing_but_rounding(
    case: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With channels_last=true terms and gradients of every phase are what they are without."""
    data = request.getfixturevalue(FOLDERS[case])
    plain = ranks.gradients(case, data, tmp_path / "plain")
    assert ranks.differing(ranks.gradients(case, data, tmp_path / "last", "channels_last=true"), plain) == []


@pytest.mark.parametrize("case", FOLDERS)
def test_mixed_precision_keeps_weights_and_losses_in_32_bits(
    case: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With bf16-mixed gradients are float32, and the terms are within 3 % of what they are in float32."""
    data = request.getfixturevalue(FOLDERS[case])
    plain = ranks.gradients(case, data, tmp_path / "plain")
    mixed = ranks.gradients(case, data, tmp_path / "mixed", "precision=bf16-mixed")
    assert {tensor.dtype for tensor in mixed.values()} == {torch.float32}
    terms = {name for name in plain if "." not in name}
    assert len(terms) > 2
    assert [name for name in terms if (mixed[name] - plain[name]).abs() > 0.03 * plain[name].abs() + 0.01] == []


def test_a_run_goes_on_in_another_layout(labelled_set: Path, tmp_path: Path) -> None:
    """A checkpoint of one memory layout is resumed in the other with the same weights, but for rounding."""
    words = ("save_every=2", "checkpoints=9")
    whole = trained("stargan", labelled_set, tmp_path / "whole", 4, *words)
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    (tmp_path / "parts" / "checkpoints" / "00000004.ckpt").unlink()
    parts = trained("stargan", labelled_set, tmp_path / "parts", 4, *words, "channels_last=true", resume=True)
    for name, network in parts.recipe.networks.items():
        for mine, wanted in zip(network.parameters(), whole.recipe.networks[name].parameters(), strict=True):
            # Adam's third and fourth steps, of 1e-4 each, may turn round where a gradient is 0 but for rounding.
            assert (mine - wanted).abs().max() < 5e-4
            assert (mine - wanted).abs().mean() < 2e-5


@pytest.mark.parametrize(("precision", "apart"), [("32-true", 1e-4), ("bf16-mixed", 3e-2)])
def test_compiled_networks_play_by_the_same_numbers(
    precision: str, apart: float, labelled_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With compile=true a critic with a gradient penalty learns, and its terms are those of the network as written.

    Building kernels takes a minute of a core; what a second derivative trips over comes before, so none are built here.
    """
    made = [trainer("stargan", labelled_set, tmp_path / "plain", 2, f"precision={precision}")]
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    made.append(trainer("stargan", labelled_set, tmp_path / "compiled", 2, "compile=true", f"precision={precision}"))
    plain, compiled = (each.turn(each.recipe.phases[0], each.sample_batch) for each in made)
    assert compiled["critic/penalty"] > 0
    assert {name: term.item() for name, term in compiled.items()} == pytest.approx(
        {name: term.item() for name, term in plain.items()}, rel=apart, abs=0.03 * apart
    )


def test_averages_follow_at_the_decay_that_was_asked_for() -> None:
    """avg <- d avg + (1 - d) w, with a smaller d while few steps have been made; buffers are copied."""
    live = nn.BatchNorm1d(1)
    averages = Averages({"g": live}, 0.9)
    mean = averages.weights["g"]
    for step, decay, expected in ((1, 2 / 11, 9 / 11), (1000, 0.9, 0.9 * 9 / 11)):
        live.weight.data.fill_(2.0 if step == 1 else 1.0)
        live.state_dict()["running_mean"].add_(1.0)
        before = mean["weight"].item()
        averages.update(step)
        assert mean["weight"].item() == pytest.approx(decay * before + (1 - decay) * live.weight.item())
        assert mean["weight"].item() - 1 == pytest.approx(expected)
        assert torch.equal(mean["running_mean"], live.state_dict()["running_mean"])
    assert not mean["weight"].requires_grad


def test_joint_samples_are_made_by_the_networks_that_are_exported(joint_set: Path, tmp_path: Path) -> None:
    """With `average`, unknown labels are read by the trained critic, and pictures made by the averaged generator."""
    more = ("average=0.9", "generator_every=1", "rate=0.02", "sample_every=10")
    made = trained("stargan joint", joint_set, tmp_path / "run", 10, *more)
    recipe, _ = made.run.trained()
    with torch.no_grad():
        expected = grid(recipe.samples(made.sample_batch), made.run.data.picture)
    with Image.open(tmp_path / "run" / "samples" / "00000010.png") as shown:
        assert np.array_equal(np.asarray(shown), np.asarray(expected))


@pytest.mark.parametrize("case", ["stargan", "pix2pix", "cyclegan"])
def test_looking_at_samples_changes_nothing(case: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Averaged weights, swapped in for samples at each step, do not change the training."""
    data = request.getfixturevalue(FOLDERS[case])
    runs = [trained(case, data, tmp_path / each, 4, f"sample_every={each}").run for each in ("1", "9")]
    assert differing(*(run.latest() for run in runs)) == []


def test_a_twin_in_mixed_precision_runs_its_own_layers() -> None:
    """A copy on the same weights, as pix2pix makes for inference, is under autocast too, and has its own norms."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    keys = network.state_dict().keys()
    pixels = torch.rand(2, 3, 8, 8) + torch.tensor([0.0, 5.0]).view(2, 1, 1, 1)
    exact = per_picture(network)(pixels)
    Autocast("bf16-mixed", torch.device("cpu")).set_up(network)
    whole, own = network(pixels), per_picture(network)(pixels)
    assert network.state_dict().keys() == keys
    assert whole.dtype == own.dtype == torch.float32
    assert not torch.equal(own, exact)
    assert (own - exact).abs().mean() < 0.05 < (own - whole).abs().mean()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library is told to keep memory")
def test_what_a_step_frees_is_there_for_the_next() -> None:
    """Large tensors that come and go touch no new page of memory; 64 MB would be 16,384 of them."""
    keep_freed()
    for _ in range(10):  # until they have found their place
        torch.ones(16 * 2**20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(16 * 2**20)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 1000


@pytest.mark.parametrize("case", FOLDERS)
def test_memory_stays_flat(case: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """After 48 steps as many tensors are alive as after 16, though the garbage collector is off."""
    data = request.getfixturevalue(FOLDERS[case])
    alive: dict[int, int] = {}

    def count(progress: Progress) -> None:
        if progress.step % 16 == 0:
            alive[progress.step] = sum(issubclass(type(each), Tensor) for each in gc.get_objects())

    made = trainer(case, data, tmp_path / "run", 48, "log_every=16", "save_every=16", "workers=0")
    gc.collect()
    gc.disable()
    try:
        made.train(count)
    finally:
        gc.enable()
    assert len(alive) == 3
    assert len(set(alive.values())) == 1
