"""A bundle agrees with the network it was made from, or is not written."""

import asyncio
import io
import logging
import shlex
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.data import labelled_folder
from support.training import FOLDERS, SMALLEST, trained
from torch import Tensor, nn

from models.bundle import archive
from models.bundle.archive import Bundle
from models.bundle.manifest import Picture
from models.bundle.pixels import to_pixels, to_tensor
from models.bundle.ports import Output
from models.bundle.store import Store
from models.data.tables import UNKNOWN
from models.errors import CheckpointError, DataError, ExportError, OptionsError
from models.export.bundle import (
    Facts,
    export,
)
from models.export.graphs import (
    LARGEST_DIFFERENCE,
    LOWEST_PSNR,
    GraphRunner,
    compare,
    compare_fp16,
    network,
    to_fp16,
    to_onnx,
)
from models.recipes.recipe import Exported
from models.recipes.stargan import StarGAN
from models.training.run import Run, open_run
from worker.embedded import Embedded
from worker.engine.library import Library
from worker.pipeline import Answer, Pipeline
from worker.settings import EngineSettings, Limits
from worker.wish import Wish


@dataclass(frozen=True)
class Made:
    """A short training of a case, the bundle that came of it, and the differences that were measured."""

    run: Run
    bundle: Bundle
    measured: dict[str, float]


@pytest.fixture(scope="module")
def run(labelled_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A short training."""
    torch.set_num_threads(1)
    return trained("stargan", labelled_set, tmp_path_factory.mktemp("runs") / "stargan", 4).run


@pytest.fixture(scope="module", params=SMALLEST)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Each case's bundle; in fp16, which is checked in fp32 first, but where a test compares pictures."""
    torch.set_num_threads(1)
    case: str = request.param
    folder = tmp_path_factory.mktemp("store")
    run = trained(case, request.getfixturevalue(FOLDERS[case]), folder.parent / f"{folder.name}-run", 4).run
    measured = export(
        run, folder / "toy", "fp32" if case == "stargan joint" else "fp16", Facts(licence="CC0-1.0"), None
    )
    return Made(run, archive.read(folder / "toy"), measured)


def test_bundle_of_every_recipe_agrees_with_pytorch(made: Made) -> None:
    """Each graph stays within the limits, and the bundle verifies, with samples and a card that says how it infers."""
    manifest, card = made.bundle.manifest, made.bundle.path("README.md").read_text()
    halves = {name: value for name, value in made.measured.items() if name.endswith("fp16")}
    assert all(value <= LARGEST_DIFFERENCE for name, value in made.measured.items() if name not in halves)
    assert all(value >= LOWEST_PSNR for value in halves.values())
    assert made.measured.keys() - halves.keys() == manifest.graphs.keys()
    assert (made.bundle.ref, manifest.precision, manifest.licence) == ("toy@1", "fp16" if halves else "fp32", "CC0-1.0")
    assert manifest.samples
    assert f"recast train {made.run.recipe.name} --data DATA --out RUN" in card
    assert "--set width=4" in card
    assert f"Inference: {manifest.training['inference']}." in card


def test_the_card_tells_every_stage_of_a_training(labelled_set: Path, tmp_path: Path) -> None:
    """A run that went on with other options has a command for each part, with what changed; the same words add none."""
    trained("stargan", labelled_set, tmp_path / "run", 2)
    trained("stargan", labelled_set, tmp_path / "run", 2, resume=True)
    trained("stargan", labelled_set, tmp_path / "run", 4, "erase=0", "classification=2", resume=True)
    export(open_run(tmp_path / "run"), tmp_path / "staged", "fp32", Facts(), None)
    card = (tmp_path / "staged" / "README.md").read_text()
    first, second = card.split("# until step ")[1:]
    assert first.startswith("2\n    recast train stargan --data DATA --out RUN \\\n")
    assert "--set erase=0.5" in first
    assert second.startswith("4\n    recast train stargan --data DATA --out RUN --resume \\\n")
    words = [line.strip(" \\") for line in second.splitlines() if "--set" in line]
    assert sorted(words) == ["--set classification=2.0", "--set erase=0.0", "--set steps=4"]


def test_the_cards_command_is_one_for_a_shell(labelled_set: Path, tmp_path: Path) -> None:
    """A `|` between domains is quoted and pipes nothing; of a bundle that it began with, the card tells the name."""
    run = trained("stargan", labelled_set, tmp_path / "run", 2, "domains=hue=red|green").run
    export(run, tmp_path / "first", "fp32", Facts(), None)
    more = ("domains=hue=red|green", f"pretrained={tmp_path / 'first'}")
    begun = trained("stargan", labelled_set, tmp_path / "next", 2, *more).run
    export(begun, tmp_path / "second", "fp32", Facts(), None)
    card = (tmp_path / "second" / "README.md").read_text()
    _, _, command = card.partition("    recast train")
    words = shlex.split(command.partition("    recast export")[0])
    assert {"domains=hue=red|green", "pretrained=first"} <= set(words)
    assert str(tmp_path) not in card + (tmp_path / "second" / "bundle.json").read_text()


def test_written_graphs_take_any_batch_and_free_sides(made: Made) -> None:
    """The batch axis is dynamic, and height and width are where the manifest says free."""
    manifest = made.bundle.manifest
    size, free = manifest.picture.size, manifest.picture.free
    labels = np.zeros((5, len(manifest.label_order) + len(manifest.mask_columns)), np.float32)
    for name in {domain.graph for domain in manifest.domains}:
        runner = GraphRunner(made.bundle.graph(name))
        for count, side in ((1, size), (5, size + 16 if free else size)):
            pixels = np.zeros((count, 3, side, side), np.float32)
            inputs = {"pixels": pixels, "labels": labels[:count]} if labels.size else {"pixels": pixels}
            assert runner(inputs)["translated"].shape == pixels.shape


@pytest.mark.parametrize("made", ["cyclegan"], indirect=True)
def test_samples_show_what_each_graph_takes(made: Made) -> None:
    """CycleGAN's bundle has as many samples of A, which are dark here, as of B, which are bright."""
    files = [made.bundle.path(sample.file) for sample in made.bundle.manifest.samples]
    shades = [float(np.asarray(Image.open(file)).mean()) for file in files]
    half = len(shades) // 2
    assert max(shades[:half]) < 128 <= min(shades[half:])


@pytest.mark.parametrize("made", ["stargan joint"], indirect=True)
def test_a_bundle_of_joint_sets_is_served_in_a_pass_for_each(made: Made, joint_set: Path) -> None:
    """A domain of each set: two passes, whose labels and masks are those of training, the pictures PyTorch's own."""
    picture = joint_set / "toy" / "images" / "000001.png"
    answer = serve(made.bundle, picture, "green,light")
    recipe, _ = made.run.trained()
    assert isinstance(recipe, StarGAN)
    expected = np.asarray(Image.open(picture))[None]
    for name in ("green", "light"):
        x = torch.from_numpy(to_tensor(expected, made.bundle.manifest.picture))
        own = recipe.columns.fill_unknown(torch.full((1, 5), UNKNOWN), recipe.critic(x)[1])
        place = made.bundle.manifest.label_order.index(name)
        labels = torch.cat(recipe.columns.request(own, place), dim=1)
        expected = to_pixels(recipe.generator(x, labels).numpy(), made.bundle.manifest.picture)
    shown = np.asarray(Image.open(io.BytesIO(answer.data)))
    assert np.abs(shown.astype(int) - expected[0]).max() <= 1
    assert set(answer.domains) == {"red", "green", "bright", "dark", "light"}
    assert [answer.domains[name] for name in ("red", "green", "dark", "light")] == [0, 1, 0, 1]


def serve(bundle: Bundle, picture: Path, domains: str) -> Answer:
    """What the service would answer for a picture, at the network's size."""
    settings = EngineSettings(device="cpu", threads=1)
    store = Store([bundle.folder.parent])

    async def ask() -> Answer:
        translator = Embedded(Library(store, settings), settings)
        pipeline = Pipeline(store, translator, Limits(), threads=1)
        try:
            request = Wish(domains=(domains,), size="model", format="png")
            return await pipeline.translate(picture.read_bytes(), request, deadline=time.monotonic() + 60)
        finally:
            pipeline.close()
            await translator.close()

    return asyncio.run(ask())


def test_fp16_halves_the_file_and_keeps_norms_in_fp32(run: Run) -> None:
    """Weights take two bytes each; inputs and outputs stay float32."""
    recipe, _ = run.trained()
    exported = recipe.exported()["generator"]
    graph = to_onnx(exported, Picture(size=32, free=True))
    half = to_fp16(graph)
    pixels = np.random.default_rng(0).uniform(-1, 1, (2, 3, 32, 32)).astype(np.float32)
    made = GraphRunner(half)({"pixels": pixels, "labels": np.zeros((2, 3), np.float32)})["translated"]
    assert made.dtype == np.float32
    weights = sum(p.numel() for p in exported.module.parameters())
    assert len(half) < len(graph) - weights


TINY = Picture(size=8)


class Shifted(nn.Module):
    """Adds a constant that the graph made before does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(0.0))

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels + self.shift


def test_a_graph_that_differs_is_refused_with_the_figure() -> None:
    """A difference of 0.01 is a hundred times the limit, and stands in the message."""
    exported = Exported(Shifted())
    graph = to_onnx(exported, TINY)
    inputs = [{"pixels": np.zeros((1, 3, 8, 8), np.float32)}]
    assert compare("g", network(exported), graph, inputs) == 0
    torch.nn.init.constant_(exported.module.shift, 0.01)  # type: ignore[arg-type]
    with pytest.raises(ExportError, match=r"graph g differs .* in translated by 1\.00e-02, more than 1e-04"):
        compare("g", network(exported), graph, inputs)


def test_a_fp16_graph_that_is_too_coarse_is_refused_with_the_figure() -> None:
    """An error of 0.1 of a range of 2 is 26 dB."""
    exported = Exported(Shifted())
    graph = to_onnx(exported, TINY)
    torch.nn.init.constant_(exported.module.shift, 0.1)  # type: ignore[arg-type]
    with pytest.raises(ExportError, match=r"has 26\.0 dB PSNR to fp32 in translated, less than 45; take fp32"):
        compare_fp16("g", network(exported), graph, [{"pixels": np.zeros((1, 3, 8, 8), np.float32)}], TINY)


def test_a_network_that_can_not_be_exported_leaves_the_log_as_it_was() -> None:
    """The exporter is quiet only while it works, also where it fails: its logger has the level that it had."""

    class Failing(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            raise ValueError("no")

    before = logging.getLogger("torch.onnx").level
    with pytest.raises(Exception, match="no"):
        to_onnx(Exported(Failing()), TINY)
    assert logging.getLogger("torch.onnx").level == before


def test_a_network_whose_outputs_are_not_its_ports_is_refused() -> None:
    """An output of another shape than the recipe says is named with both, before anything is compared."""
    exported = Exported(Shifted(), outputs=(Output(kind="translated", shape=(3, 4, 4)),))
    with pytest.raises(ExportError, match=r"gives translated of shape \[3, 8, 8\], but its port says \[3, 4, 4\]"):
        to_onnx(exported, TINY)


def test_samples_may_be_chosen(run: Run, labelled_set: Path, tmp_path: Path) -> None:
    """The pictures of a folder become the bundle's samples unchanged; a folder without pictures is refused."""
    facts = Facts(samples=labelled_set / "images")
    export(run, tmp_path / "toy", "fp32", facts, None)
    samples = archive.read(tmp_path / "toy").manifest.samples
    assert [sample.file for sample in samples][:2] == ["samples/000001.png", "samples/000002.png"]
    with pytest.raises(OptionsError, match="there are no sample pictures"):
        export(run, tmp_path / "other", "fp32", Facts(samples=labelled_set), None)


def test_nothing_is_written_when_a_graph_is_refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store stays empty, without a half-written folder."""
    monkeypatch.setattr("models.export.graphs.LARGEST_DIFFERENCE", -1.0)
    with pytest.raises(ExportError):
        export(run, tmp_path / "store" / "toy", "fp32", Facts(), None)
    assert not (tmp_path / "store").exists()


def test_a_run_without_a_checkpoint_is_refused(run: Run, tmp_path: Path) -> None:
    """A run that has not saved yet can't be exported."""
    empty = Run(tmp_path / "empty", run.recipe, run.options, run.data_folder, run.data)
    empty.write()
    with pytest.raises(CheckpointError, match="holds no checkpoint yet"):
        export(open_run(tmp_path / "empty"), tmp_path / "toy", "fp32", Facts(), None)


def test_missing_data_are_named(run: Run, tmp_path: Path) -> None:
    """Real pictures are part of the check; without them the folder that is missing is named."""
    with pytest.raises(DataError, match=r"there is no data folder .*gone"):
        export(run, tmp_path / "toy", "fp32", Facts(), tmp_path / "gone")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    """A data folder is not mistaken for a run."""
    with pytest.raises(OptionsError, match="is not the run of a training"):
        open_run(labelled_folder(tmp_path / "set"))
