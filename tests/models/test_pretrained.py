"""A training begins with the weights of a bundle: domains go by their names, and what does not fit is refused."""

import shutil
from pathlib import Path

import pytest
import torch
from support.bundles import flip_bundle
from support.checkpoints import stargan_discriminator, stargan_generator
from support.data import labelled_folder
from support.importing import saved
from support.training import FOLDERS, SMALLEST, trained, trainer
from torch import Tensor, nn

from models.errors import OptionsError
from models.export.bundle import Facts, export
from models.imports import imported, yunjey
from models.recipes import AnyRecipe
from models.training.run import Run, open_run
from models.training.start import describe, prepare

KNOWN = ("red", "green")
"""What `learned` has learned, in its order."""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def bundle_of(run: Run, folder: Path) -> Path:
    """What the run has learned, in full precision."""
    export(run, folder, "fp32", Facts(), None)
    return folder


@pytest.fixture(scope="module")
def learned(labelled_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a short StarGAN that knows red and green; its run lies beside."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("learned")
    return bundle_of(trained("stargan", labelled_set, folder / "run", 3, "domains=hue=red|green").run, folder / "toy")


def served(recipe: AnyRecipe) -> dict[str, Tensor]:
    """All weights that a bundle of the recipe holds."""
    return {
        f"{graph} {name}": weights.detach()
        for graph, exported in recipe.exported().items()
        for name, weights in exported.module.named_parameters()
    }


@pytest.mark.parametrize("case", SMALLEST)
def test_a_training_begins_where_the_bundle_ended(case: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """In every recipe the training begins with the bundle's weights to the bit, and so does the average."""
    data = request.getfixturevalue(FOLDERS[case])
    run = trained(case, data, tmp_path / "run", 3).run
    bundle = bundle_of(run, tmp_path / "toy")
    begun = trainer(case, data, tmp_path / "next", 4, f"pretrained={bundle}", "seed=7")
    taken, given = served(begun.recipe), served(run.trained()[0])
    assert taken.keys() == given.keys()
    assert [name for name in given if not torch.equal(taken[name], given[name])] == []
    for name, means in begun.averages.weights.items():
        live = begun.recipe.networks[name].state_dict()
        assert [key for key in live if not torch.equal(means[key], live[key])] == []


@pytest.mark.parametrize(
    ("case", "domains"),
    [("stargan", "hue=green|red"), ("stargan", "red"), ("stargan", "bright,red"), ("stargan joint", "")],
)  # fmt: skip
def test_domains_are_matched_by_name(
    case: str, domains: str, learned: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """In another order, fewer, with new ones or with those of other sets: known ones have their weights, new ones 0."""
    data = request.getfixturevalue(FOLDERS[case])
    begun = trainer(case, data, tmp_path / "run", 2, f"domains={domains}", f"pretrained={learned}")
    source = open_run(learned.parent / "run").trained()[0].networks
    labels = [domain.name for domain in begun.run.data.domains]
    for network, weights, axis, names in (
        ("generator", "main.0.weight", 1, [*labels, *begun.run.data.masks]),
        ("critic", "conv2.weight", 0, labels),
    ):
        mine, theirs = (slices(each[network], weights, axis) for each in (begun.recipe.networks, source))
        first = len(mine) - len(names)
        assert torch.equal(mine[:first], theirs[:first])
        for place, name in enumerate(names):
            expected = theirs[first + KNOWN.index(name)] if name in KNOWN else torch.zeros_like(mine[0])
            assert torch.equal(mine[first + place], expected), f"{network} {name}"


def test_a_training_goes_on_at_another_size(learned: Path, labelled_set: Path, tmp_path: Path) -> None:
    """At twice the side the critic's classification has a kernel twice as wide, which reads plain features alike."""
    begun = trainer(
        "stargan", labelled_set, tmp_path / "run", 2, "size=64", "domains=red,green", f"pretrained={learned}"
    )
    source = open_run(learned.parent / "run").trained()[0].networks
    assert served(begun.recipe).keys() == served(open_run(learned.parent / "run").trained()[0]).keys()
    mine, theirs = (each["critic"].get_parameter("conv2.weight") for each in (begun.recipe.networks, source))
    assert (mine.shape[2:], theirs.shape[2:]) == ((8, 8), (4, 4))
    assert torch.allclose(mine.sum(dim=(2, 3)), theirs.sum(dim=(2, 3)), atol=1e-6)
    assert torch.equal(*(each["critic"].get_parameter("main.0.weight") for each in (begun.recipe.networks, source)))


def slices(network: nn.Module, weights: str, axis: int) -> Tensor:
    """A weight by its slices for each input or output, those of domains last."""
    return network.get_parameter(weights).detach().movedim(axis, 0)


def test_a_reference_checkpoint_is_trained_on(labelled_set: Path, tmp_path: Path) -> None:
    """A training can begin with an import of the official files, critic included."""
    generator, discriminator = stargan_generator(blocks=1), stargan_discriminator(kernel=4)
    files = [saved(tmp_path / "1-G.ckpt", generator), saved(tmp_path / "1-D.ckpt", discriminator)]
    imported.write(yunjey.convert(files, None, None), tmp_path / "faces", "fp32", Facts())
    begun = trainer("stargan", labelled_set, tmp_path / "run", 2, f"pretrained={tmp_path / 'faces'}").recipe.networks
    assert torch.equal(begun["generator"].get_parameter("main.3.weight"), generator["main.3.weight"])
    assert torch.equal(begun["critic"].get_parameter("main.0.weight"), discriminator["main.0.weight"])


def test_a_resumed_run_asks_the_bundle_no_more(labelled_set: Path, learned: Path, tmp_path: Path) -> None:
    """Its own checkpoint is newer: the bundle may be gone by then."""
    bundle = shutil.copytree(learned, tmp_path / "toy")
    trained("stargan", labelled_set, tmp_path / "run", 2, "domains=red", f"pretrained={bundle}")
    shutil.rmtree(bundle)
    assert trained("stargan", labelled_set, tmp_path / "run", 3, "domains=red", resume=True).step == 3


def test_a_dry_run_names_the_bundle_and_finds_what_does_not_fit(
    labelled_set: Path, learned: Path, tmp_path: Path
) -> None:
    """`--dry-run` says whose weights it would begin with, or what is wrong with them."""
    words = [f"pretrained={learned}", "size=32", "width=4", "blocks=1", "critic_width=4", "critic_layers=3"]
    prepared = prepare("stargan", labelled_set, tmp_path / "run", None, words, resume=False)
    assert describe(prepared)[0].endswith("32 px; begins with the weights of toy@1")
    wider = prepare("stargan", labelled_set, tmp_path / "run", None, [*words, "width=8"], resume=False)
    with pytest.raises(OptionsError, match="graph generator of toy@1"):
        describe(wider)


def test_a_dry_run_tells_how_much_is_unknown(tmp_path: Path) -> None:
    """The count of pictures with an unknown label follows each domain's count."""
    data = labelled_folder(tmp_path / "set", unknown=True)
    prepared = prepare("stargan", data, tmp_path / "run", None, ["size=32", "critic_layers=3"], resume=False)
    assert describe(prepared)[2] == "domains: red 14 (7 unknown), green 15 (7 unknown), bright 15 (5 unknown)"


@pytest.mark.parametrize(
    ("case", "more", "message"),
    [
        ("stargan", ["width=8"], r"toy@1 has main\.0\.weight of 4 x 6 x 7 x 7, these options want 8 x 6 x 7 x 7"),
        ("stargan", ["blocks=2"], r"graph generator of toy@1 has no weights main\.10\.main\.0\.weight"),
        ("pix2pix", [], "the bundle toy@1 is of the recipe stargan, not pix2pix"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused(
    case: str, more: list[str], message: str, learned: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The error for another shape or recipe names both sides, and leaves no run folder."""
    data = request.getfixturevalue(FOLDERS[case])
    with pytest.raises(OptionsError, match=message):
        trainer(case, data, tmp_path / "run", 2, f"pretrained={learned}", *more)
    assert not (tmp_path / "run").exists()


def test_a_bundle_of_other_graphs_is_refused(unpaired_set: Path, tmp_path: Path) -> None:
    """A bundle without any of the recipe's graphs is refused."""
    toy = flip_bundle(tmp_path)
    with pytest.raises(OptionsError, match="the bundle flip@1 has none of the graphs a-to-b, b-to-a"):
        trainer("cyclegan", unpaired_set, tmp_path / "run", 2, f"pretrained={toy.folder}")


def test_a_folder_that_is_no_bundle_is_refused(labelled_set: Path, tmp_path: Path) -> None:
    """The option and the folder are named."""
    with pytest.raises(OptionsError, match=r"pretrained=.*nowhere: "):
        trainer("stargan", labelled_set, tmp_path / "run", 2, f"pretrained={tmp_path / 'nowhere'}")
