"""CycleGAN's files: which way each goes, what it makes, and what is refused; the command's test runs the graphs."""

from pathlib import Path

import pytest
from support.checkpoints import BATCH, resnet, stargan_generator, unet
from support.importing import options_file, saved, skip_graphs

from models.bundle.manifest import Picture
from models.errors import CheckpointError, ModelError, OptionsError
from models.imports import junyanz
from models.imports.imported import Imported

A, B = "latest_net_G_A.pth", "latest_net_G_B.pth"


@pytest.fixture(autouse=True)
def _untraced(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests check what the importer finds, not its graphs."""
    skip_graphs(monkeypatch, junyanz)


def imported(folder: Path, *names: str, domains: str = "horse,zebra", size: int | None = None) -> Imported:
    """An import of files of these names, with networks that differ."""
    files = [saved(folder / name, resnet(seed=place)) for place, name in enumerate(names)]
    return junyanz.convert_cyclegan(files, domains, size, "batch")


def made_by(found: Imported) -> dict[str, str]:
    """The file that makes each domain."""
    return {domain.name: found.sources[domain.graph].file for domain in found.domains}


@pytest.mark.parametrize(
    ("names", "made"),
    [
        ((A, B), {"zebra": A, "horse": B}),
        ((B, A), {"zebra": A, "horse": B}),
        (("there.pth", "back.pth"), {"zebra": "there.pth", "horse": "back.pth"}),
        (("there.pth", "200_net_G_A.pth"), {"zebra": "200_net_G_A.pth", "horse": "there.pth"}),
        (("200_net_G_B.pth", "there.pth"), {"zebra": "there.pth", "horse": "200_net_G_B.pth"}),
        ((A,), {"zebra": A}),
        ((B,), {"horse": B}),
        (("latest_net_G.pth",), {"zebra": "latest_net_G.pth"}),
    ],
)
def test_g_a_makes_the_second_domain(tmp_path: Path, names: tuple[str, ...], made: dict[str, str]) -> None:
    """The names of the files decide, in any order; where they say nothing, their order does."""
    assert made_by(imported(tmp_path, *names)) == made


def test_of_one_generator_what_it_makes_is_enough(tmp_path: Path) -> None:
    """For a single generator the name of what it makes is enough."""
    found = imported(tmp_path, A, domains="Zebra")
    assert made_by(found) == {"zebra": A}
    assert list(found.graphs) == ["a-to-b"]


def test_downloaded_models_of_one_name_keep_their_hashes(tmp_path: Path) -> None:
    """Two files with the same name, as downloaded models have, each keep their hash in the sources."""
    found = imported(tmp_path, "horse2zebra/latest_net_G.pth", "zebra2horse/latest_net_G.pth")
    assert len({source.sha256 for source in found.sources.values()}) == 2


def test_pictures_are_squeezed_as_in_the_official_test(tmp_path: Path) -> None:
    """Without options a picture is squeezed to 256 pixels bicubically; --image-size wins over that."""
    picture = Picture(size=256, multiple=4, free=True, resize="bicubic", crop="none")
    assert imported(tmp_path, A).picture == picture
    assert imported(tmp_path, A, size=64).picture.size == 64


def test_the_options_beside_say_size_and_crop(tmp_path: Path) -> None:
    """crop_size and preprocess come from train_opt.txt; paths of the machine stay out of the bundle."""
    options_file(tmp_path, {"crop_size": "128", "preprocess": "scale_width_and_crop", "dataroot": "./secret"})
    found = imported(tmp_path, A)
    assert (found.picture.size, found.picture.crop) == (128, "centre")
    assert found.options == {"crop_size": "128", "preprocess": "scale_width_and_crop"}


def test_the_options_of_2018_are_read(tmp_path: Path) -> None:
    """opt.txt with the names of 2018 counts like train_opt.txt."""
    options_file(
        tmp_path, {"fineSize": "64", "resize_or_crop": "crop", "which_model_netG": "resnet_2blocks"}, "opt.txt"
    )
    found = imported(tmp_path, A)
    assert (found.picture.size, found.picture.crop) == (64, "centre")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"netG": "resnet_9blocks"}, "says netG: resnet_9blocks, but the checkpoint's keys say resnet_2blocks"),
        ({"norm": "batch"}, "says norm: batch, but the checkpoint's keys say instance"),
        ({"no_dropout": "False"}, "says no_dropout: False, but the checkpoint's keys say True"),
        ({"ngf": "64"}, "says ngf: 64, but the checkpoint's keys say 4"),
        ({"output_nc": "1"}, "says output_nc: 1, but the checkpoint's keys say 3"),
    ],
)
def test_options_of_another_training_are_refused(tmp_path: Path, said: dict[str, str], message: str) -> None:
    """Options that contradict the keys are refused."""
    options_file(tmp_path, said)
    with pytest.raises(CheckpointError, match=message):
        imported(tmp_path, A)


@pytest.mark.parametrize(
    ("names", "domains", "size", "message"),
    [
        ((A, B, "c.pth"), "horse,zebra", None, "3 files are given; a CycleGAN has two generators"),
        ((A, "50_net_G_A.pth"), "horse,zebra", None, "go the same way by their names"),
        ((A, B), "zebra", None, "--domains is 'zebra'; name two"),
        ((A,), "horse,zebra,lion", None, "--domains is 'horse,zebra,lion'; name two"),
        ((A,), "horse,ze/bra", None, "'ze/bra'"),
        ((A,), "horse,zebra", 30, "image size 30 is no multiple of 4"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, names: tuple[str, ...], domains: str, size: int | None, message: str
) -> None:
    """Too many files or names, or wrong ones, are refused."""
    with pytest.raises(ModelError, match=message):
        imported(tmp_path, *names, domains=domains, size=size)


def test_generators_of_different_pictures_are_refused(tmp_path: Path) -> None:
    """Two generators that take different pictures are refused."""
    files = [saved(tmp_path / A, resnet()), saved(tmp_path / B, unet(BATCH))]
    with pytest.raises(CheckpointError, match="take pictures of different kinds; import each by itself"):
        junyanz.convert_cyclegan(files, "horse,zebra", None, "batch")
    files = [saved(tmp_path / way / "latest_net_G.pth", resnet()) for way in ("there", "back")]
    options_file(tmp_path / "back", {"crop_size": "128"})
    with pytest.raises(CheckpointError, match="take pictures of different kinds; import each by itself"):
        junyanz.convert_cyclegan(files, "horse,zebra", None, "batch")


def test_other_networks_are_named(tmp_path: Path) -> None:
    """A StarGAN generator is refused."""
    path = saved(tmp_path / A, stargan_generator())
    with pytest.raises(
        CheckpointError, match="holds a StarGAN generator; a generator of CycleGAN or pix2pix is needed"
    ):
        junyanz.convert_cyclegan([path], "horse,zebra", None, "batch")


def test_running_statistics_are_asked_of_each_generator(tmp_path: Path) -> None:
    """Running statistics are refused for instance norm, which has none."""
    path = saved(tmp_path / A, resnet())
    with pytest.raises(OptionsError, match="has no running statistics"):
        junyanz.convert_cyclegan([path], "horse,zebra", None, "running")
