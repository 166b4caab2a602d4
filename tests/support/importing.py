"""What tests of imports share: files of random weights, and imports without the slow way to ONNX."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest
import torch
from support.checkpoints import State
from torch import Tensor

from models.bundle.manifest import Picture
from models.imports.imported import Checked
from models.recipes.recipe import Exported


def saved(path: Path, state: State) -> Path:
    """The state dict as a file, in a folder that is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    return path


def noise(count: int, *sides: int) -> Tensor:
    """Pictures n x 3 x h x w of even noise in [-1, 1]; the same every time."""
    return torch.rand(count, 3, *sides, generator=torch.Generator().manual_seed(2)) * 2 - 1


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest one; what is compared must have one shape."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max())


def skip_graphs(monkeypatch: pytest.MonkeyPatch, importer: ModuleType) -> None:
    """Lets the importer leave its networks as they are: for tests of what it finds in the files."""

    def untraced(name: str, exported: Exported, picture: Picture) -> Checked:
        return Checked(exported.entry(name), name.encode(), 0.0, [])

    monkeypatch.setattr(importer, "check", untraced)


def options_file(folder: Path, said: Mapping[str, str], name: str = "train_opt.txt") -> Path:
    """The options beside a checkpoint, as pytorch-CycleGAN-and-pix2pix writes them."""
    lines = [f"{key:>25}: {value:<30}\t[default: {value}x]" for key, value in said.items()]
    text = ["----------------- Options ---------------", *lines, "----------------- End -------------------", ""]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(text))
    return folder / name
