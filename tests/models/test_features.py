"""The networks with published weights: names, shapes and pooling of Inception's file, and LPIPS's definition.

Random weights stand in for the published ones, which are not part of the project.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.errors import CheckpointError, OptionsError
from models.evaluation.features import WIDTH, InceptionV3, Lpips, open_inception, open_lpips

CHANNELS = {0: (3, 64, 11), 3: (64, 192, 5), 6: (192, 384, 3), 8: (384, 256, 3), 10: (256, 256, 3)}
A, B = np.random.default_rng(0).integers(0, 256, (2, 2, 40, 40, 3), np.uint8)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """A state dict with the names of the published file: without counters of batches, with a classifier."""
    torch.manual_seed(0)
    drawn = InceptionV3().state_dict()
    kept = {name: value for name, value in drawn.items() if not name.endswith("num_batches_tracked")}
    return {**kept, "fc.weight": torch.zeros(1008, WIDTH), "fc.bias": torch.zeros(1008)}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the names of torchvision's AlexNet, including its classifier."""
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
    """LPIPS with equal weights for all channels of some layers."""
    sizes = [outputs for _, outputs, _ in CHANNELS.values()]
    weights = {f"lin{i}.model.1.weight": torch.full((1, n, 1, 1), scale * (i in layers)) for i, n in enumerate(sizes)}
    torch.save(weights, folder / "alex.pth")
    return open_lpips(folder / "alex.pth", backbone)


def test_names_and_sizes_are_the_published_ones(weights: dict[str, Tensor]) -> None:
    """94 convolutions with batch norm, 21,785,568 weights; some of each kind of block by name and shape."""
    network = InceptionV3()
    assert sum(parameter.numel() for parameter in network.parameters()) == 21_785_568
    assert sum(name.endswith("conv.weight") for name in weights) == 94
    assert weights["Conv2d_4a_3x3.conv.weight"].shape == (192, 80, 3, 3)
    assert weights["Mixed_5c.branch5x5_2.conv.weight"].shape == (64, 48, 5, 5)
    assert weights["Mixed_6a.branch3x3dbl_3.conv.weight"].shape == (96, 96, 3, 3)
    assert weights["Mixed_6d.branch7x7dbl_5.conv.weight"].shape == (192, 160, 1, 7)
    assert weights["Mixed_7a.branch7x7x3_4.bn.running_var"].shape == (192,)
    assert weights["Mixed_7c.branch3x3dbl_3b.conv.weight"].shape == (384, 384, 3, 1)


def test_a_file_of_weights_gives_2048_features(weights: dict[str, Tensor], tmp_path: Path) -> None:
    """Pictures of any size become 2048 numbers, none below 0; the order of the pictures does not matter."""
    torch.save(weights, tmp_path / "inception.pth")
    inception = open_inception(tmp_path / "inception.pth")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3), np.uint8)
    features = inception.features(pixels)
    assert features.shape == (2, WIDTH)
    assert features.min() >= 0
    assert np.allclose(inception.features(pixels[::-1]), features[::-1], rtol=1e-3, atol=1e-5)


def test_other_files_than_inception_are_refused(weights: dict[str, Tensor], tmp_path: Path) -> None:
    """Files with other or missing names, and files without weights, are refused by name."""
    path = tmp_path / "other.pth"
    lacking = {name: value for name, value in weights.items() if not name.startswith("Mixed_7c")}
    for content in ({**weights, "extra": torch.zeros(1)}, lacking):
        torch.save(content, path)
        with pytest.raises(CheckpointError, match="is not pt_inception-2015-12-05"):
            open_inception(path)
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="has no weights"):
        open_inception(path)


def test_pooling_is_that_of_the_published_network() -> None:
    """Average pooling ignores the padding, so a plain picture stays plain at its edges; the last block takes maxima."""
    network = InceptionV3().eval()
    seen: dict[str, Tensor] = {}
    for name in ("Mixed_7b", "Mixed_7c"):
        block = getattr(network, name)
        block.branch_pool.register_forward_pre_hook(lambda _, x, name=name: seen.update({name: x[0]}))
    x = torch.zeros(1, 1280, 8, 8)
    x[..., 4, 4] = 9.0
    plain = torch.ones(1, 1280, 8, 8)
    with torch.no_grad():
        network.Mixed_7b(x)
        assert (seen["Mixed_7b"][0, 0, 3:6, 3:6] == 1).all()
        network.Mixed_7b(plain)
        assert (seen["Mixed_7b"] == 1).all()
        network.Mixed_7c(x.repeat(1, 2, 1, 1)[:, :WIDTH])
        assert (seen["Mixed_7c"][0, 0, 3:6, 3:6] == 9).all()


def test_equal_pictures_have_no_distance(backbone: Path, tmp_path: Path) -> None:
    """The distance is 0 for equal pictures, positive for others, symmetric, and one number a picture."""
    lpips = opened(backbone, tmp_path)
    assert (lpips.distances(A, A) == 0).all()
    assert lpips.distances(A, B).shape == (2,)
    assert (lpips.distances(A, B) > 0.01).all()
    assert lpips.distances(A, B) == pytest.approx(lpips.distances(B, A))


def test_distances_are_linear_in_the_weights(backbone: Path, tmp_path: Path) -> None:
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


def test_other_files_than_lpips_and_small_pictures_are_refused(backbone: Path, tmp_path: Path) -> None:
    """The error names the file that does not fit, or the size that is too small."""
    lpips = opened(backbone, tmp_path)
    with pytest.raises(OptionsError, match="31 pixels or more, not 16"):
        lpips.distances(A[:, :16, :16], B[:, :16, :16])
    with pytest.raises(CheckpointError, match=r"alex\.pth is not torchvision's AlexNet"):
        open_lpips(backbone, tmp_path / "alex.pth")
    with pytest.raises(CheckpointError, match=r"alexnet\.pth has no weights of LPIPS"):
        open_lpips(backbone, backbone)
    torch.save({f"lin{i}.model.1.weight": torch.zeros(1, 64, 1, 1) for i in range(5)}, tmp_path / "alex.pth")
    with pytest.raises(CheckpointError, match="another network"):
        open_lpips(tmp_path / "alex.pth", backbone)
