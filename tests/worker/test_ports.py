"""Graphs that take no picture or give none: from the recipe through export and engine to a worker behind a broker."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.data import labelled_folder
from support.redis import serving
from support.tiny import CAPTION, LATENT, LONGEST, SIZE, Distance, Measuring, Painter, Painting, exported_bundle
from support.workers import working

from models.bundle import archive
from models.bundle.manifest import Graph, Manifest
from models.bundle.pixels import to_tensor
from models.bundle.ports import Output
from models.bundle.store import Store
from models.data.data import Description
from models.errors import ExportError
from models.export.graphs import LOWEST_PSNR
from models.recipes.options import Options
from worker.embedded import Embedded
from worker.engine.engine import Engine
from worker.engine.library import Library
from worker.errors import NotReady
from worker.queue.remote import Remote
from worker.settings import EngineSettings, QueueSettings
from worker.translator import Arrays, Done, Translator

PATIENCE_S = 60.0
SETTINGS = EngineSettings(device="cpu", threads=1, max_batch=4)
COARSE = 0.02
"""Half precision, relative to the range of values from -1 to 1."""


@dataclass(frozen=True)
class Made:
    """The folder of the store with both bundles, and what their exports measured."""

    folder: Path
    painting: dict[str, float]
    measuring: dict[str, float]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Both bundles, exported."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.set_num_threads(1)
    data = labelled_folder(folder / "data", 20, SIZE)
    measured = (
        exported_bundle(recipe, data, folder / recipe.name, folder / "store" / recipe.name)
        for recipe in (Painting, Measuring)
    )
    return Made(folder / "store", *measured)


@pytest.fixture(scope="module")
def store(made: Made) -> Iterator[Store]:
    """A store with both bundles."""
    with Store([made.folder]) as opened:
        yield opened


def painting(rows: int) -> dict[str, NDArray[np.float32] | NDArray[np.uint8]]:
    """Inputs of the painting bundle: other latents for each row, and one caption."""
    latent = np.linspace(-1, 1, rows * LATENT, dtype=np.float32).reshape(rows, LATENT)
    return {"latent": latent, "text": np.tile(np.frombuffer(CAPTION.ljust(LONGEST, b"\0"), np.uint8), (rows, 1))}


def pictures(rows: int, side: int = SIZE) -> dict[str, NDArray[np.uint8]]:
    """Inputs of the measuring bundle."""
    return {"pixels": np.random.default_rng(3).integers(0, 256, (rows, side, side, 3), np.uint8)}


def check_painting(inputs: Arrays, outputs: Arrays) -> None:
    """Asserts that the pictures are those that the network paints, as bytes."""
    tensors = [torch.from_numpy(inputs[kind].astype(np.float32)) for kind in ("latent", "text")]
    with torch.no_grad():
        expected = Painter()(*tensors).permute(0, 2, 3, 1).numpy()
    assert set(outputs) == {"pictures"}
    assert outputs["pictures"].dtype == np.uint8
    assert outputs["pictures"].shape == expected.shape
    assert np.abs(outputs["pictures"] / 127.5 - 1 - expected).max() < COARSE


def check_measuring(inputs: Arrays, outputs: Arrays, store: Store) -> None:
    """Asserts that scores and maps are those of the network, as float32."""
    bundle = store.snapshot().get("measuring")
    assert bundle is not None
    with torch.no_grad():
        score, distances = Distance()(torch.from_numpy(to_tensor(inputs["pixels"], bundle.manifest.picture)))
    assert set(outputs) == {"score", "map"}
    for kind, expected in {"score": score.numpy(), "map": distances.numpy()}.items():
        assert outputs[kind].dtype == np.float32
        assert outputs[kind].shape == expected.shape
        assert np.abs(outputs[kind] - expected).max() < COARSE


def test_exports_agree_and_say_what_they_take_and_give(made: Made, store: Store) -> None:
    """Both graphs agree with PyTorch in fp32 and fp16; manifest and card name task, ports, latent, text and score."""
    for measured, graph in ((made.painting, "generator"), (made.measuring, "scorer")):
        assert measured[graph] < 1e-5
        assert measured[f"{graph} fp16"] >= LOWEST_PSNR
    bundles = {bundle.name: bundle for bundle in store.snapshot().bundles}
    cards = {name: bundle.path("README.md").read_text() for name, bundle in bundles.items()}
    assert "Its task is to generate; " in cards["painting"]
    assert "- generator: latent 3, text 8 to pictures 3 x 16 x 16\n" in cards["painting"]
    assert "Latents are drawn from a uniform distribution.\n\nText has at most 8 bytes in ascii." in cards["painting"]
    assert "- scorer: pixels 3 x any x any to score 1, map 1 x any x any\n" in cards["measuring"]
    assert "a score above 0.25 counts as strange; 95 % of held-out" in cards["measuring"]
    assert not bundles["painting"].manifest.samples
    assert bundles["measuring"].manifest.samples


def test_a_manifest_with_other_ports_than_the_network_is_not_written(tmp_path: Path) -> None:
    """If a recipe's manifest and its exported network disagree, the export says so and leaves no bundle."""

    class Disagreeing(Measuring):
        name = "disagreeing"

        @classmethod
        def create(cls, options: Options, data: Description) -> "Disagreeing":
            return cls(Distance())

        def manifest(self, name: str, data: Description) -> Manifest:
            graphs = {"scorer": Graph(file="scorer.onnx", outputs=(Output(kind="score"),))}
            return super().manifest(name, data).model_copy(update={"graphs": graphs})

    data = labelled_folder(tmp_path / "data", 20, SIZE)
    with pytest.raises(ExportError, match="lists other ports of graph scorer than its network has"):
        exported_bundle(Disagreeing, data, tmp_path / "run", tmp_path / "store" / "disagreeing")
    assert not (tmp_path / "store").exists()


def test_models_verify_runs_them(made: Made) -> None:
    """`recast models verify` loads and runs both."""
    command = [sys.executable, "recast.py", "models", "verify", "--store", str(made.folder)]
    said = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert said.returncode == 0, said.stderr
    assert "painting@1" in said.stdout
    assert "measuring@1" in said.stdout


def test_the_engine_runs_them(store: Store) -> None:
    """Latents and text make pictures as bytes, pixels of any size make scores and maps, in batches of any length."""
    painter, measurer = (Engine(archive.read(store.snapshot().bundles[at].folder), SETTINGS) for at in (1, 0))
    for engine in (painter, measurer):
        engine.warm()
    for rows in (1, 9):
        check_painting(painting(rows), painter.run("generator", painting(rows)))
        check_measuring(pictures(rows), measurer.run("scorer", pictures(rows)), store)
    check_measuring(pictures(2, 20), measurer.run("scorer", pictures(2, 20)), store)
    with pytest.raises(ValueError, match=r"takes text as uint8 \[1, 8\], and got float32 \[1, 8\]"):
        painter.run("generator", {**painting(1), "text": painting(1)["text"].astype(np.float32)})
    with pytest.raises(ValueError, match=r"takes latent as float32 \[2, 3\], and got float32 \[2, 4\]"):
        painter.run("generator", {**painting(2), "latent": np.zeros((2, 4), np.float32)})


async def ask(store: Store, translator: Translator) -> None:
    """Asks for several of each at once, and asserts that each gets its own."""
    bundles = {bundle.name: bundle for bundle in store.snapshot().bundles}
    asked: list[tuple[str, Arrays]] = [("painting", painting(rows)) for rows in (1, 2, 3)]
    asked += [("measuring", pictures(rows, side)) for rows, side in ((1, 16), (3, 16), (1, 24))]
    graphs = {"painting": "generator", "measuring": "scorer"}
    deadline = time.monotonic() + PATIENCE_S
    done: list[Done] = await asyncio.gather(
        *(translator.run(bundles[name], graphs[name], inputs, deadline=deadline) for name, inputs in asked)
    )
    for (name, inputs), each in zip(asked, done, strict=True):
        if name == "painting":
            check_painting(inputs, each.outputs)
        else:
            check_measuring(inputs, each.outputs, store)


def test_the_embedded_translator_runs_them(store: Store) -> None:
    """Orders of one graph share batches, and each gets its own rows of every output."""

    async def test() -> None:
        translator = Embedded(Library(store, SETTINGS), SETTINGS)
        await ask(store, translator)
        await translator.close()

    asyncio.run(test())


def test_a_worker_runs_them(store: Store, made: Made, tmp_path: Path) -> None:
    """Over Redis and Celery a real worker gives the same, with inputs and outputs of all kinds in the parcels."""

    async def test(url: str) -> None:
        translator = Remote(QueueSettings(broker=url))
        await translator.start()
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                await translator.ready()
                break
            except NotReady:
                assert time.monotonic() < until
                await asyncio.sleep(0.01)
        await ask(store, translator)
        await translator.close()

    with serving(tmp_path / "redis") as server, working(tmp_path, server, made.folder):
        asyncio.run(test(server.url))
