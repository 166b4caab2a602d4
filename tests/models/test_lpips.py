"""LPIPS has the properties of its definition; random weights stand in for the published ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.errors import CheckpointError, OptionsError
from models.evaluation.lpips import Lpips, open_lpips

CHANNELS = {0: (3, 64, 11), 3: (64, 192, 5), 6: (192, 384, 3), 8: (384, 256, 3), 10: (256, 256, 3)}
A, B = np.random.default_rng(0).integers(0, 256, (2, 2, 40, 40, 3), np.uint8)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the names of torchvision's AlexNet, its classifier among them."""
    path = tmp_path_factory.mktemp("lpips") / "alexnet.pth"
    drawn = torch.Generator().manual_seed(0)
    state = {"classifier.1.weight": torch.zeros(1)}
    for number, (inputs, outputs, kernel) in CHANNELS.items():
        scale = (inputs * kernel * kernel) ** -0.5
        state[f"features.{number}.weight"] = scale * torch.randn(outputs, inputs, kernel, kernel, generator=drawn)
        state[f"features.{number}.bias"] = torch.zeros(outputs)
    torch.save(state, path)
    return path


def opened(backbone: Path, folder: Path, scale: float = 1.0, layers: range = range(5)) -> Lpips:
    """LPIPS with all channels weighted alike, in some layers."""
    sizes = [outputs for _, outputs, _ in CHANNELS.values()]
    weights = {f"lin{i}.model.1.weight": torch.full((1, n, 1, 1), scale * (i in layers)) for i, n in enumerate(sizes)}
    torch.save(weights, folder / "alex.pth")
    return open_lpips(folder / "alex.pth", backbone)


def test_equal_pictures_have_no_distance(backbone: Path, tmp_path: Path) -> None:
    """0 for equal pictures, more for others, the same both ways, one number a picture."""
    lpips = opened(backbone, tmp_path)
    assert (lpips.distances(A, A) == 0).all()
    assert lpips.distances(A, B).shape == (2,)
    assert (lpips.distances(A, B) > 0.01).all()
    assert lpips.distances(A, B) == pytest.approx(lpips.distances(B, A))


def test_weights_weigh(backbone: Path, tmp_path: Path) -> None:
    """Twice the weights give twice the distance, and layers add up."""
    once, twice = (opened(backbone, tmp_path, scale).distances(A, B) for scale in (1.0, 2.0))
    parts = [opened(backbone, tmp_path, 1.0, range(i, i + 1)).distances(A, B) for i in range(5)]
    assert twice == pytest.approx(2 * once)
    assert sum(parts) == pytest.approx(once)


def test_the_first_layer_by_hand(backbone: Path, tmp_path: Path) -> None:
    """Normalised by ImageNet's mean and deviation, convolved, cut at 0, of length 1: the mean squared difference."""
    weight = torch.load(backbone, weights_only=True)["features.0.weight"].double()

    def directions(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> Tensor:
        x = torch.from_numpy(pixels / 255.0).permute(0, 3, 1, 2)
        mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        return functional.normalize(functional.conv2d((x - mean) / deviation, weight, stride=4, padding=2).relu())

    expected = (directions(A) - directions(B)).square().sum(1).mean((1, 2))
    assert opened(backbone, tmp_path, 1.0, range(1)).distances(A, B) == pytest.approx(expected.numpy(), rel=1e-3)


def test_other_files_and_small_pictures_are_refused(backbone: Path, tmp_path: Path) -> None:
    """The file that does not fit is named, and so is a size at which no feature is left."""
    lpips = opened(backbone, tmp_path)
    with pytest.raises(OptionsError, match="31 pixels or more, not 16"):
        lpips.distances(A[:, :16, :16], B[:, :16, :16])
    with pytest.raises(CheckpointError, match=r"alex\.pth is no AlexNet"):
        open_lpips(backbone, tmp_path / "alex.pth")
    with pytest.raises(CheckpointError, match=r"alexnet\.pth holds no weights of LPIPS"):
        open_lpips(backbone, backbone)
    torch.save({f"lin{i}.model.1.weight": torch.zeros(1, 64, 1, 1) for i in range(5)}, tmp_path / "alex.pth")
    with pytest.raises(CheckpointError, match="another network"):
        open_lpips(tmp_path / "alex.pth", backbone)
