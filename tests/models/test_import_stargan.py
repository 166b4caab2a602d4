"""StarGAN's official files become the networks that they were, and the names that people give to their columns."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from support import checkpoints
from support.checkpoints import Norms, State, resnet, stargan_discriminator, stargan_generator
from support.graphs import labelled_graph
from support.importing import difference, noise, saved
from support.published import stargan_logits, stargan_translated

from models.bundle import archive
from models.bundle.archive import Bundle
from models.bundle.manifest import Picture
from models.errors import ModelError
from models.export.bundle import Facts
from models.export.graphs import GraphRunner
from models.imports import yunjey
from models.imports.checkpoint import read
from models.imports.imported import Checked, Imported, write

LIMIT, SERVED_LIMIT = 1e-5, 1e-4
LABELS = torch.tensor([[1.0, 0, 0, 1, 0], [0, 0, 1, 0.5, 1]])


@pytest.mark.parametrize("norms", [checkpoints.STARGAN, checkpoints.STARGAN_OF_2018, checkpoints.STARGAN_BARE])
@pytest.mark.parametrize("blocks", [1, 3])
def test_generators_agree_with_the_published_one(tmp_path: Path, norms: Norms, blocks: int) -> None:
    """Running statistics and counters, there or not, change nothing."""
    state = stargan_generator(norms=norms, blocks=blocks)
    exported, summary = yunjey.generator(read(saved(tmp_path / "G.ckpt", state)))
    pixels = noise(2, 16, 20)
    assert difference(exported.module(pixels, LABELS), stargan_translated(state, pixels, LABELS)) <= LIMIT
    assert summary == f"{blocks} blocks, width 4, 5 label columns"


@pytest.mark.parametrize(("layers", "kernel"), [(3, 4), (6, 1), (2, 3)])
def test_discriminators_agree_with_the_published_one(tmp_path: Path, layers: int, kernel: int) -> None:
    """The keys give the discriminator's depth and the side of its pictures."""
    state = stargan_discriminator(layers=layers, kernel=kernel)
    exported, _ = yunjey.classifier(read(saved(tmp_path / "D.ckpt", state)), 5)
    pixels = noise(2, kernel * 2**layers, kernel * 2**layers)
    assert difference(exported.module(pixels), stargan_logits(state, pixels)) <= LIMIT


@dataclass(frozen=True)
class Written:
    """A bundle and the files that it was made from."""

    bundle: Bundle
    generator: State
    discriminator: State
    differences: dict[str, float]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A bundle of both files, the discriminator first."""
    folder = tmp_path_factory.mktemp("stargan")
    generator, discriminator = stargan_generator(), stargan_discriminator()
    files = [saved(folder / "200000-D.ckpt", discriminator), saved(folder / "200000-G.ckpt", generator)]
    differences = write(yunjey.convert(files, None, None), folder / "faces", "fp32", Facts(licence="CC0-1.0"))
    return Written(archive.read(folder / "faces"), generator, discriminator, differences)


def test_what_is_served_agrees_with_the_published_networks(imported: Written) -> None:
    """The graphs of the bundle, in ONNX Runtime, at any batch and size of a multiple of 4."""
    pixels = noise(2, 32, 36)
    made = GraphRunner(imported.bundle.graph("generator"))({"pixels": pixels.numpy(), "labels": LABELS.numpy()})
    assert (
        difference(torch.from_numpy(made["translated"]), stargan_translated(imported.generator, pixels, LABELS))
        <= SERVED_LIMIT
    )
    pixels = noise(3, 32, 32)
    logits = GraphRunner(imported.bundle.graph("classifier"))({"pixels": pixels.numpy()})
    assert (
        difference(torch.from_numpy(logits["logits"]), stargan_logits(imported.discriminator, pixels)) <= SERVED_LIMIT
    )
    assert {name: value <= SERVED_LIMIT for name, value in imported.differences.items()} == {
        "generator": True,
        "classifier": True,
    }


def test_the_manifest_is_that_of_the_published_setting(imported: Written) -> None:
    """The five attributes, hair as a group, the discriminator's size, the official crop and resize."""
    manifest = imported.bundle.manifest
    assert manifest.label_order == ("black-hair", "blond-hair", "brown-hair", "male", "young")
    assert [domain.name for domain in manifest.groups["hair"]] == ["black-hair", "blond-hair", "brown-hair"]
    assert manifest.picture == Picture(size=32, multiple=4, free=True, resize="bilinear", crop="centre")
    assert (manifest.family, manifest.classifier, manifest.licence) == ("stargan", "classifier", "CC0-1.0")
    assert manifest.training["sources"]["generator"]["file"] == "200000-G.ckpt"


def test_the_card_says_where_it_comes_from(imported: Written) -> None:
    """The publisher, the files with their hashes, and that labels may be wrong."""
    card = imported.bundle.path("README.md").read_text()
    assert "Imported from checkpoints as yunjey/stargan saves them; trained elsewhere." in card
    for graph in ("generator", "classifier"):
        assert imported.bundle.manifest.training["sources"][graph]["sha256"] in card
    assert "read by a classifier" in card


@pytest.mark.parametrize(
    ("typed", "name"),
    [("black", "black-hair"), ("Blonde", "blond-hair"), ("Brown_Hair", "brown-hair"), ("MALE", "male")],
)
def test_domains_are_known_by_the_names_that_people_type(imported: Written, typed: str, name: str) -> None:
    """CelebA's own spelling, and short forms of it."""
    found = imported.bundle.manifest.find(typed)
    assert found is not None
    assert found.name == name


def groups(text: str, columns: int) -> list[str | None]:
    """The group of each domain, in order."""
    return [domain.group for domain in yunjey.label_columns(text, columns)[0]]


def aliases(text: str, columns: int) -> dict[str, tuple[str, ...]]:
    """The aliases of each domain."""
    return {domain.name: domain.aliases for domain in yunjey.label_columns(text, columns)[0]}


def test_colours_of_hair_exclude_each_other() -> None:
    """Hair colours form a group as in the official test, unless there is only one or the user names groups."""
    assert groups("Male,Gray_Hair,Black_Hair", 3) == [None, "hair", "hair"]
    assert groups("Male,Gray_Hair", 2) == [None, None]
    assert groups("colour=Black_Hair|Blond_Hair,Brown_Hair", 3) == ["colour", "colour", None]


def test_short_names_are_given_where_only_one_domain_has_them() -> None:
    """`blond` for Blond_Hair, but not where a domain of its own is called so; `grey` for Gray_Hair."""
    assert aliases("Gray_Hair,Wearing_Hat,Eyeglasses,Young", 4) == {
        "gray-hair": ("gray", "grey", "grey-hair"),
        "wearing-hat": ("hat",),
        "eyeglasses": ("glasses",),
        "young": (),
    }
    assert aliases("Blond_Hair,Blond", 2) == {"blond-hair": ("blonde", "blonde-hair"), "blond": ()}


def test_a_joint_training_has_masks(tmp_path: Path) -> None:
    """`+` separates sets; those after the first are classes, and each set has a column after the labels."""
    domains, masks = yunjey.label_columns("Black_Hair,Blond_Hair,Male+angry,happy,sad", 8)
    assert masks == ("set-1", "set-2")
    assert [(d.name, d.column, d.group, d.mask) for d in domains] == [
        ("black-hair", 0, "hair", "set-1"),
        ("blond-hair", 1, "hair", "set-1"),
        ("male", 2, None, "set-1"),
        ("angry", 3, "set-2", "set-2"),
        ("happy", 4, "set-2", "set-2"),
        ("sad", 5, "set-2", "set-2"),
    ]
    graphs = {"generator": Checked(labelled_graph("generator.onnx", 8), b"graph", 0.0, [])}
    joint = Imported("stargan", domains, Picture(size=32), graphs, "nowhere", {}, masks=masks)
    write(joint, tmp_path / "joint", "fp32", Facts())
    manifest = archive.read(tmp_path / "joint").manifest
    assert (manifest.mask_columns, len(manifest.label_order)) == (masks, 6)


G, D = stargan_generator(), stargan_discriminator()


@pytest.mark.parametrize(
    ("states", "domains", "size", "message"),
    [
        ((stargan_generator(labels=3),), None, None, "3 label columns, and no file says what they mean: name them"),
        ((G,), "Male,Young", None, "5 label columns, but --domains names 2: name every column"),
        ((G,), "a,b,c+d,e", None, "5 label columns, but --domains names 5 in 2 sets, which take a column each"),
        ((G,), "a,b,c,d,a", None, "name at least one domain, and each only once"),
        ((G,), "a,b,c,d,,", None, "but --domains names 4"),
        ((G,), "a,b+a", None, "--domains names a in two sets"),
        ((G, D), None, 64, "image size is 64, but the discriminator takes 32"),
        ((G,), None, 30, "image size 30 is no multiple of 4"),
        ((D,), None, None, r"0\.ckpt holds a StarGAN discriminator alone; give its generator as well"),
        ((G, G), None, None, r"0\.ckpt and .*1\.ckpt both hold a StarGAN generator"),
        ((G, D, D), None, None, r"1\.ckpt and .*2\.ckpt both hold a StarGAN discriminator"),
        ((resnet(),), None, None, "holds a ResNet generator of CycleGAN or pix2pix; a StarGAN generator is needed"),
        ((G, stargan_discriminator(labels=8)), None, None, "classifies 8 domains, the generator makes 5"),
        ((G | {"main.9.weight": torch.ones(3)},), None, None, "left over: main.9.weight"),
        ((G | {"mask.weight": torch.ones(3)},), None, None, "left over: mask.weight"),
        (({k: v for k, v in G.items() if k != "main.9.main.3.weight"},), None, None, "missing: main.9.main.3.weight"),
        ((G, D | {"conv1.weight": torch.ones(1, 9, 3, 3)}), None, None, "another shape: conv1.weight"),
        ((G, D | {"main.4.running_mean": torch.ones(1)}), None, None, "left over: main.4.running_mean"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, states: tuple[State, ...], domains: str | None, size: int | None, message: str
) -> None:
    """A wrong number of names, networks of two trainings and unknown keys are refused."""
    files = [saved(tmp_path / f"{place}.ckpt", state) for place, state in enumerate(states)]
    with pytest.raises(ModelError, match=message):
        yunjey.convert(files, domains, size)
