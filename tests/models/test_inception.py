"""The Inception of published figures has the names, shapes and pooling of its weights' file.

Random weights stand in for the published ones, which are not part of the project.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.errors import CheckpointError
from models.evaluation.inception import WIDTH, InceptionV3, open_inception


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """A state dict with the names of the published file: no counters of batches, and a classifier behind."""
    torch.manual_seed(0)
    drawn = InceptionV3().state_dict()
    kept = {name: value for name, value in drawn.items() if not name.endswith("num_batches_tracked")}
    return {**kept, "fc.weight": torch.zeros(1008, WIDTH), "fc.bias": torch.zeros(1008)}


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


def test_other_files_are_refused(weights: dict[str, Tensor], tmp_path: Path) -> None:
    """A file with other names or without some, and one that is no file of weights, are named."""
    path = tmp_path / "other.pth"
    lacking = {name: value for name, value in weights.items() if not name.startswith("Mixed_7c")}
    for content in ({**weights, "extra": torch.zeros(1)}, lacking):
        torch.save(content, path)
        with pytest.raises(CheckpointError, match="is not pt_inception-2015-12-05"):
            open_inception(path)
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="holds no weights"):
        open_inception(path)


def test_pooling_is_that_of_the_published_network() -> None:
    """Means leave the padding out, so that a plain picture stays plain at its edges; the last block takes maxima."""
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
