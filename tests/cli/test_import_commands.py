"""`recast import` makes bundles that `recast translate` uses, prints what it found, and refuses in one line."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from support.checkpoints import BATCH, resnet, stargan_generator
from support.commands import Recast
from support.foreign import SIDE, convolution, convolved, node
from support.importing import saved
from support.pictures import noise
from support.published import resnet_translated
from torch import Tensor

from models.bundle import archive

LEVELS = 1.01


def levels(tensor: Tensor) -> np.ndarray:
    """Pixels in [-1, 1] as a picture, 0..255."""
    return ((tensor[0].permute(1, 2, 0) + 1) * 127.5).numpy()


def tensor(picture: Image.Image) -> Tensor:
    """A picture, 0..255, as pixels in [-1, 1]."""
    return torch.from_numpy(np.asarray(picture).astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1


def test_cyclegan_files_become_a_bundle_that_translates(recast_: Recast, tmp_path: Path) -> None:
    """Both directions of an imported CycleGAN make the published networks' pictures, to within rounding."""
    there, back = resnet(BATCH, blocks=1, seed=1), resnet(blocks=1, seed=2)
    files = [saved(tmp_path / f"latest_net_G_{way}.pth", state) for way, state in (("A", there), ("B", back))]
    store, picture = tmp_path / "store", tmp_path / "in.png"
    said = recast_(
        "import", "cyclegan", *files, "--domains", "horse,zebra", "--image-size", SIDE, "--to", store / "horses",
        "--licence", "BSD-2-Clause", "--title", "Horses", "--version", "2",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert "a-to-b: latest_net_G_A.pth: ResNet, 1 blocks, width 4, batch norm with each picture's own" in said.out
    assert "domains: zebra, horse; 32 px" in said.out
    noise(SIDE, SIDE).save(picture)
    for domain, state in (("zebra", there), ("horse", back)):
        out = tmp_path / f"{domain}.png"
        said = recast_("translate", picture, "--domains", domain, "--model", "horses@2", "--store", store, "--out", out)
        assert said.code == 0, said.err
        made = np.asarray(Image.open(out)).astype(np.float32)
        assert np.abs(made - levels(resnet_translated(state, tensor(noise(SIDE, SIDE))))).max() < LEVELS
    manifest = archive.read(store / "horses").manifest
    assert (manifest.title, manifest.licence) == ("Horses", "BSD-2-Clause")


def test_a_foreign_graph_becomes_a_bundle_that_translates(recast_: Recast, tmp_path: Path) -> None:
    """A graph with a fixed batch of one and BGR is imported with its samples, and the bundle verifies."""
    graph = tmp_path / "any.onnx"
    held = convolution(then=[node("Reshape", "made", "out", "one")], constants={"one": np.array([1, 3, SIDE, SIDE])})
    onnx.save_model(held, graph)
    samples = tmp_path / "samples"
    samples.mkdir()
    noise(SIDE, SIDE).save(samples / "one.png")
    store, out = tmp_path / "store", tmp_path / "out.png"
    said = recast_(
        "import", "onnx", graph, "--domains", "hayao", "--layout", "nchw", "--channels", "bgr", "--range=-1,1",
        "--image-size", SIDE, "--to", store / "hayao", "--samples", samples, "--precision", "fp16",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert "generator: any.onnx: nchw of float32, bgr, sides of 32, values -1..1; one picture after another" in said.out
    assert "generator fp16: " in said.out
    said = recast_("translate", samples / "one.png", "--domains", "hayao", "--store", store, "--out", out)
    assert said.code == 0, said.err
    made = np.asarray(Image.open(out)).astype(np.float32)
    expected = convolved(tensor(noise(SIDE, SIDE)).flip(1)).tanh().flip(1)
    assert np.abs(made - levels(expected)).max() < LEVELS
    assert recast_("models", "verify", "--store", store).code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stargan", "gone.ckpt", "--to", "store/x"], "gone.ckpt can't be read: No such file"),
        (["stargan", "G.ckpt", "--domains", "a,b", "--to", "store/x"], "but --domains names 2"),
        (["stargan", "gone.ckpt", "--to", "store/UPPER"], "a bundle's folder is its name, in lower case"),
        (["cyclegan", "G.ckpt", "--domains", "a,b", "--to", "store/x"], "holds a StarGAN generator"),
        (["pix2pix", "junk.pth", "--domains", "a", "--to", "store/x"], "is not a file of torch.save"),
        (["onnx", "junk.pth", "--domains", "a", "--to", "store/x"], "is not a readable ONNX file"),
        (["onnx", "junk.pth", "--domains", "a", "--range", "1", "--to", "store/x"], "--range is '1'"),
    ],
)
def test_a_refusal_is_one_line_and_exit_2(
    recast_: Recast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    """A file that can't be imported gives one line, no traceback and no bundle."""
    monkeypatch.chdir(tmp_path)
    saved(Path("G.ckpt"), stargan_generator())
    Path("junk.pth").write_bytes(b"junk")
    said = recast_("import", *words)
    assert (said.code, len(said.err.strip().splitlines())) == (2, 1), said.err
    assert message in said.err
    assert not Path("store").exists()
