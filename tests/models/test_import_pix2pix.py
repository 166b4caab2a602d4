"""pix2pix's file: which way it goes, whose statistics its norms use, and that what is served makes the same."""

from pathlib import Path

import pytest
import torch
from support.checkpoints import BATCH, INSTANCE, resnet, unet
from support.importing import difference, noise, options_file, saved, skip_graphs
from support.published import unet_translated

from models.bundle import archive
from models.bundle.manifest import Picture
from models.errors import ModelError
from models.export.bundle import Facts
from models.export.graphs import GraphRunner
from models.imports import junyanz
from models.imports.imported import Imported, write
from models.imports.junyanz import Direction

SERVED_LIMIT = 1e-4


def imported(folder: Path, domains: str, direction: Direction | None = None, size: int | None = None) -> Imported:
    """An import of a small U-Net."""
    return junyanz.convert_pix2pix(saved(folder / "latest_net_G.pth", unet()), domains, direction, size, "batch")


def test_what_is_served_agrees_with_the_published_network(tmp_path: Path) -> None:
    """Each picture in a batch has its own statistics, like batch norm on one picture, and the card says so."""
    state = unet(BATCH)
    found = junyanz.convert_pix2pix(saved(tmp_path / "latest_net_G.pth", state), "photo", None, None, "batch")
    measured = write(found, tmp_path / "facades", "fp16", Facts())
    bundle = archive.read(tmp_path / "facades")
    assert measured["generator"] <= SERVED_LIMIT
    assert (bundle.manifest.family, bundle.manifest.precision) == ("pix2pix", "fp16")
    assert "batch norm with each picture's own statistics" in bundle.path("README.md").read_text()
    pixels = noise(3, 32, 32)
    served = torch.from_numpy(GraphRunner(found.graphs["generator"].graph)({"pixels": pixels.numpy()})["translated"])
    assert difference(served, unet_translated(state, pixels)) <= SERVED_LIMIT


@pytest.mark.parametrize(
    ("domains", "direction", "beside", "made"),
    [
        ("photo", None, None, "photo"),
        ("photo", None, "BtoA", "photo"),
        ("photo,label", "AtoB", None, "label"),
        ("photo,label", "BtoA", None, "photo"),
        ("photo,label", None, "BtoA", "photo"),
        ("photo,label", None, "AtoB", "label"),
        ("photo,label", "AtoB", "AtoB", "label"),
    ],
)
def test_the_direction_says_which_of_two_is_made(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    domains: str,
    direction: Direction | None,
    beside: str | None,
    made: str,
) -> None:
    """One name is what the network makes; between A and B the option or train_opt.txt decides."""
    skip_graphs(monkeypatch, junyanz)
    if beside:
        options_file(tmp_path, {"direction": beside, "netG": "unet_32", "norm": "batch"})
    found = imported(tmp_path, domains, direction)
    assert [domain.name for domain in found.domains] == [made]
    assert found.options.get("direction") == beside


def test_the_side_is_the_unets_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """unet_N takes N pixels, or a multiple by --image-size; a ResNet takes any multiple of 4."""
    skip_graphs(monkeypatch, junyanz)
    picture = Picture(size=32, multiple=32, free=False, resize="bicubic", crop="none")
    assert imported(tmp_path, "photo").picture == picture
    assert imported(tmp_path, "photo", size=96).picture.size == 96
    path = saved(tmp_path / "resnet.pth", resnet(INSTANCE))
    assert junyanz.convert_pix2pix(path, "photo", None, None, "batch").picture.free


@pytest.mark.parametrize(
    ("domains", "direction", "size", "beside", "message"),
    [
        ("photo,label", None, None, {}, "no train_opt.txt beside the file: give --direction AtoB or BtoA"),
        ("photo,label", "AtoB", None, {"direction": "BtoA"}, "--direction is AtoB, but .*train_opt.txt says BtoA"),
        ("a,b,c", None, None, {}, "--domains is 'a,b,c'; name what the network makes, or A and B"),
        ("ph/oto", None, None, {}, "'ph/oto'"),
        ("photo", None, 48, {}, "image size 48 is no multiple of 32"),
        ("photo", None, None, {"crop_size": "48"}, "image size 48 is no multiple of 32"),
        (
            "photo",
            None,
            None,
            {"norm": "instance"},
            "says norm: instance, but the checkpoint's keys say batch or syncbatch",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, domains: str, direction: Direction | None, size: int | None, beside: dict[str, str], message: str
) -> None:
    """Two names without a direction, two directions and sides that a U-Net can't halve are refused."""
    options_file(tmp_path, beside)
    with pytest.raises(ModelError, match=message):
        imported(tmp_path, domains, direction, size)
