"""Generators of CycleGAN and pix2pix in every variant equal the published networks."""

from pathlib import Path

import pytest
import torch
from support.checkpoints import (
    BATCH,
    BATCH_OF_2017,
    BATCH_UNCOUNTED,
    INSTANCE,
    NONE,
    TRACKED,
    Norms,
    State,
    resnet,
    unet,
)
from support.importing import difference, noise, saved
from support.published import resnet_translated, unet_translated

from models.errors import CheckpointError, OptionsError
from models.imports.checkpoint import read
from models.imports.junyanz import Generator, Statistics, generator

LIMIT = 1e-5


def found(folder: Path, state: State, statistics: Statistics = "batch") -> Generator:
    """What an import finds in a file with this state."""
    return generator(read(saved(folder / "latest_net_G.pth", state)), statistics)


RESNETS = {
    "instance": (INSTANCE, False, "batch"),
    "instance, dropout": (INSTANCE, True, "batch"),
    "instance of 2018": (TRACKED, False, "batch"),
    "instance of 2018, --eval": (TRACKED, False, "running"),
    "batch": (BATCH, False, "batch"),
    "batch, dropout": (BATCH, True, "batch"),
    "batch, --eval": (BATCH, True, "running"),
    "batch without counters, --eval": (BATCH_UNCOUNTED, False, "running"),
    "biases before batch norm": (BATCH_OF_2017, False, "batch"),
    "instance with weights": (Norms(bias=True, weights=True), False, "batch"),
    "none": (NONE, False, "batch"),
}


@pytest.mark.parametrize(("norms", "dropout", "statistics"), RESNETS.values(), ids=RESNETS)
def test_resnets_agree_with_the_published_one(
    tmp_path: Path, norms: Norms, dropout: bool, statistics: Statistics
) -> None:
    """ResNets with every norm, with and without dropout, give the published pictures, each by its own statistics."""
    state = resnet(norms, dropout=dropout)
    ours, pixels = found(tmp_path, state, statistics), noise(2, 20, 24)
    theirs = resnet_translated(state, pixels, dropout=dropout, use="none" if norms is NONE else statistics)
    assert difference(ours.module(pixels), theirs) <= LIMIT
    assert (ours.multiple, ours.free) == (4, True)
    assert ours.options["no_dropout"] == (str(not dropout),)


UNETS = {
    "batch": (BATCH, "batch"),
    "batch, --eval": (BATCH, "running"),
    "batch without counters": (BATCH_UNCOUNTED, "batch"),
    "instance": (INSTANCE, "batch"),
    "instance of 2018": (TRACKED, "batch"),
    "none": (NONE, "batch"),
}


@pytest.mark.parametrize("levels", [5, 7])
@pytest.mark.parametrize(("norms", "statistics"), UNETS.values(), ids=UNETS)
def test_unets_agree_with_the_published_one(tmp_path: Path, norms: Norms, statistics: Statistics, levels: int) -> None:
    """U-Nets with every norm, with and without levels of one width, give the published pictures."""
    state = unet(norms, levels=levels)
    ours, pixels = found(tmp_path, state, statistics), noise(2, 2**levels, 2**levels)
    theirs = unet_translated(state, pixels, use="none" if norms is NONE else statistics)
    assert difference(ours.module(pixels), theirs) <= LIMIT
    assert (ours.multiple, ours.free, ours.options["netG"]) == (2**levels, False, (f"unet_{2**levels}",))


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (1, 3), (3, 1)])
def test_grey_pictures_are_read_and_made(tmp_path: Path, inputs: int, outputs: int) -> None:
    """A network for grey pictures gets the luma of three channels and gives three equal ones."""
    state = resnet(inputs=inputs, outputs=outputs)
    pixels = noise(2, 16, 16)
    luma = 0.299 * pixels[:, :1] + 0.587 * pixels[:, 1:2] + 0.114 * pixels[:, 2:]
    theirs = resnet_translated(state, luma if inputs == 1 else pixels).expand(-1, 3, -1, -1)
    assert difference(found(tmp_path, state).module(pixels), theirs) <= LIMIT


def test_the_summary_says_what_was_found(tmp_path: Path) -> None:
    """The summary names width, blocks or levels, norms and whose statistics they use."""
    assert found(tmp_path, resnet(width=6, blocks=3)).summary == (
        "ResNet, 3 blocks, width 6, instance norm with each picture's own statistics"
    )
    assert found(tmp_path, unet(), "running").summary == (
        "U-Net, 5 levels, width 2, batch norm with the training's statistics"
    )
    assert found(tmp_path, unet(NONE)).summary == "U-Net, 5 levels, width 2, no norm"


def without(state: State, *keys: str) -> State:
    return {key: tensor for key, tensor in state.items() if key not in keys}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (without(resnet(), "model.15.bias"), "missing: model.15.bias"),
        (resnet() | {"model.99.weight": torch.ones(1)}, "left over: model.99.weight"),
        (
            resnet() | {"model.11.conv_block.1.bias": torch.ones(7)},
            r"of another shape: model.11.conv_block.1.bias \[7\] instead of \[16\]",
        ),
        (without(resnet(blocks=3), "model.11.conv_block.5.weight", "model.11.conv_block.5.bias"), "missing: model.11"),
        (without(resnet(), *(key for key in resnet() if key.startswith("model.19"))), "missing: model.19.weight"),
        (without(unet(), "model.model.3.weight"), "missing: model.model.3.weight"),
        (without(unet(), "model.model.1.model.6.running_var"), "missing: model.model.1.model.6.running_var"),
        (unet() | {"model.model.4.weight": torch.ones(1)}, "left over: model.model.4.weight"),
        (unet(BATCH_OF_2017), "as U-Nets had before 22 August 2017"),
        (resnet(inputs=6), "makes 3 channels from 6"),
        (unet(outputs=2), "makes 2 channels from 3"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path: Path, state: State, message: str) -> None:
    """The error names keys that are missing, left over or of a wrong shape, and older layouts."""
    with pytest.raises(CheckpointError, match=message):
        found(tmp_path, state)


def test_many_keys_are_counted(tmp_path: Path) -> None:
    """The message stays one readable line."""
    extra = {f"model.{number}.weight": torch.ones(1) for number in range(40, 50)}
    with pytest.raises(CheckpointError, match=r"left over: model.40.weight, .* model.43.weight and 6 more$"):
        found(tmp_path, resnet() | extra)


@pytest.mark.parametrize("norms", [INSTANCE, NONE])
def test_running_statistics_must_be_there(tmp_path: Path, norms: Norms) -> None:
    """--statistics running is refused where the file has none."""
    with pytest.raises(OptionsError, match="has no running statistics; only --statistics batch fits it"):
        found(tmp_path, resnet(norms), "running")
