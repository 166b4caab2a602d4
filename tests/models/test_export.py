"""A bundle agrees with the network it was made from, or is not written."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.data import labelled_folder
from support.training import trained
from torch import Tensor, nn

from models.bundle import archive
from models.errors import CheckpointError, DataError, ExportError, OptionsError
from models.export import (
    LARGEST_DIFFERENCE,
    LOWEST_PSNR,
    Facts,
    Precision,
    compare,
    compare_fp16,
    export,
    to_fp16,
    to_onnx,
)
from models.recipes import RECIPES
from models.recipes.recipe import Exported
from models.runtime import GraphRunner
from models.training.run import Run, open_run


@pytest.fixture(scope="module", params=sorted(RECIPES))
def run(request: pytest.FixtureRequest, labelled_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A short training of each recipe."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs") / str(request.param)
    return trained(str(request.param), labelled_set, folder, 4).run


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_bundle_of_every_recipe_agrees_with_pytorch(run: Run, precision: Precision, tmp_path: Path) -> None:
    """Each graph stays within the limits, and the bundle verifies, with samples and a card."""
    to = tmp_path / "store" / "toy"
    measured = export(run, to, precision, Facts(licence="CC0-1.0"), None)
    bundle = archive.read(to)
    assert all(v >= LOWEST_PSNR if name.endswith("fp16") else v <= LARGEST_DIFFERENCE for name, v in measured.items())
    assert (bundle.ref, bundle.manifest.precision, bundle.manifest.licence) == ("toy@1", precision, "CC0-1.0")
    assert len(bundle.manifest.samples) == 4
    card = bundle.path("README.md").read_text()
    assert f"recast train {run.recipe.name} --data DATA --out RUN" in card
    assert "--set width=4" in card


def test_written_graphs_take_any_batch_and_free_sides(run: Run, tmp_path: Path) -> None:
    """The batch axis is dynamic, and height and width are where the manifest says free."""
    export(run, tmp_path / "toy", "fp32", Facts(), None)
    bundle = archive.read(tmp_path / "toy")
    runner = GraphRunner(bundle.graph("generator"))
    labels = len(bundle.manifest.label_order)
    for count, side in ((1, 32), (5, 48 if bundle.manifest.picture.free else 32)):
        pixels = np.zeros((count, 3, side, side), np.float32)
        assert runner(pixels, np.zeros((count, labels), np.float32)).shape == pixels.shape


def test_fp16_halves_the_file_and_keeps_norms_in_fp32(run: Run) -> None:
    """Weights take two bytes each; inputs and outputs stay float32."""
    recipe, _ = run.trained()
    exported = recipe.exported()["generator"]
    graph = to_onnx(exported, 32, True)
    half = to_fp16(graph)
    pixels = np.random.default_rng(0).uniform(-1, 1, (2, 3, 32, 32)).astype(np.float32)
    made = GraphRunner(half)(pixels, np.zeros((2, exported.labels), np.float32))
    assert made.dtype == np.float32
    weights = sum(p.numel() for p in exported.module.parameters())
    assert len(half) < len(graph) - weights


class Shifted(nn.Module):
    """Adds a constant that the graph made before does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(0.0))

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels + self.shift


def test_a_graph_that_differs_is_refused_with_the_figure() -> None:
    """A difference of 0.01 is a hundred times the limit, and stands in the message."""
    exported = Exported(Shifted(), "translated")
    graph = to_onnx(exported, 8, False)
    inputs = [(np.zeros((1, 3, 8, 8), np.float32),)]
    assert compare("g", exported, graph, inputs) == 0
    torch.nn.init.constant_(exported.module.shift, 0.01)  # type: ignore[arg-type]
    with pytest.raises(ExportError, match=r"graph g differs from the network by 1\.00e-02, more than 1e-04"):
        compare("g", exported, graph, inputs)


def test_a_fp16_graph_that_is_too_coarse_is_refused_with_the_figure() -> None:
    """An error of 0.1 of a range of 2 is 26 dB."""
    exported = Exported(Shifted(), "translated")
    graph = to_onnx(exported, 8, False)
    torch.nn.init.constant_(exported.module.shift, 0.1)  # type: ignore[arg-type]
    with pytest.raises(ExportError, match=r"at 26\.0 dB to the network, less than 45; take fp32"):
        compare_fp16("g", exported, graph, [(np.zeros((1, 3, 8, 8), np.float32),)])


def test_samples_may_be_chosen(run: Run, labelled_set: Path, tmp_path: Path) -> None:
    """A folder of pictures becomes the bundle's samples as they are; one without pictures is refused."""
    facts = Facts(samples=labelled_set / "images")
    export(run, tmp_path / "toy", "fp32", facts, None)
    samples = archive.read(tmp_path / "toy").manifest.samples
    assert [sample.file for sample in samples][:2] == ["samples/000001.png", "samples/000002.png"]
    with pytest.raises(OptionsError, match="there are no sample pictures"):
        export(run, tmp_path / "other", "fp32", Facts(samples=labelled_set), None)


def test_nothing_is_written_when_a_graph_is_refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store stays empty, without a half-written folder."""
    monkeypatch.setattr("models.export.LARGEST_DIFFERENCE", -1.0)
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
    with pytest.raises(OptionsError, match="is no run of a training"):
        open_run(labelled_folder(tmp_path / "set"))
