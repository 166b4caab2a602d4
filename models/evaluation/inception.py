"""The Inception v3 on whose features FID and KID are published, with weights from a file that the user gives.

Rethinking the Inception Architecture (Szegedy et al., CVPR 2016), as in TensorFlow's inception-2015-12-05. Its weights
are published for PyTorch as pt_inception-2015-12-05, and modules have the names of that file. It differs from the usual
network: means do not count the padding, and the last block takes a maximum where the others take a mean.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.bundle.manifest import Picture
from models.errors import CheckpointError
from models.evaluation.features import Vectors, best_device, device_of, in_batches
from models.evaluation.metrics import Pixels

SIDE = 299
WIDTH = 2048

_UNIT = Picture(size=SIDE, range=(0.0, 1.0))
_UNUSED = ("fc.", "AuxLogits.")


class Inception:
    """The 2048 features of the last pooling."""

    def __init__(self, network: "InceptionV3") -> None:
        self.network = network

    def features(self, pixels: Pixels) -> Vectors:
        """Pictures n x s x s x 3, enlarged to 299 x 299 bilinearly, to vectors n x 2048."""
        return in_batches(self._enlarged, pixels, _UNIT, device_of(self.network))

    def _enlarged(self, pixels: Tensor) -> Tensor:
        sides = (SIDE, SIDE)
        resized = functional.interpolate(pixels, sides, mode="bilinear", align_corners=False)
        features: Tensor = self.network(2 * resized - 1)
        return features


def open_inception(path: Path) -> Inception:
    """Reads a state dict of pt_inception-2015-12-05; CheckpointError where it is none."""
    network = InceptionV3()
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        missing, unknown = network.load_state_dict(
            {name: value for name, value in weights.items() if not name.startswith(_UNUSED)}, strict=False
        )
    except Exception as error:
        raise CheckpointError(f"{path} holds no weights that can be read: {str(error).splitlines()[0]}") from error
    lacking = [name for name in missing if not name.endswith("num_batches_tracked")]
    if lacking or unknown:
        raise CheckpointError(f"{path} is not pt_inception-2015-12-05: {[*lacking, *unknown][0]} does not fit")
    return Inception(network.to(best_device()).eval().requires_grad_(False))


class InceptionV3(nn.Module):
    """3 x 299 x 299 in [-1, 1] to 2048 features; the classifier is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3)
        self.Mixed_5b = _Grid35(192, 32)
        self.Mixed_5c = _Grid35(256, 64)
        self.Mixed_5d = _Grid35(288, 64)
        self.Mixed_6a = _To17(288)
        self.Mixed_6b = _Grid17(128)
        self.Mixed_6c = _Grid17(160)
        self.Mixed_6d = _Grid17(160)
        self.Mixed_6e = _Grid17(192)
        self.Mixed_7a = _To8(768)
        self.Mixed_7b = _Grid8(1280, largest=False)
        self.Mixed_7c = _Grid8(2048, largest=True)

    def forward(self, x: Tensor) -> Tensor:
        """n x 3 x 299 x 299 to n x 2048."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(functional.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(functional.max_pool2d(x, 3, 2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return x.mean((2, 3))


class _Conv(nn.Module):
    """A convolution without bias, batch norm, ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """n x inputs x h x w to n x outputs x h' x w'."""
        return functional.relu(self.bn(self.conv(x)))


def _mean(x: Tensor) -> Tensor:
    """The mean of 3 x 3, of what lies inside the picture alone."""
    return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class _Grid35(nn.Module):
    """Paths of 1x1, 5x5, two 3x3, and a pooled one, on a grid of 35 x 35."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = _Conv(inputs, 64, 1)
        self.branch5x5_1 = _Conv(inputs, 48, 1)
        self.branch5x5_2 = _Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = _Conv(inputs, 64, 1)
        self.branch3x3dbl_2 = _Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, padding=1)
        self.branch_pool = _Conv(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        """To 224 + pooled channels."""
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(_mean(x))], 1)


class _To17(nn.Module):
    """Halves the grid to 17 x 17."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = _Conv(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = _Conv(inputs, 64, 1)
        self.branch3x3dbl_2 = _Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """To 480 channels more."""
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), three, functional.max_pool2d(x, 3, 2)], 1)


class _Grid17(nn.Module):
    """Paths of 1x1, 7x7 in two steps, two such, and a pooled one, on a grid of 17 x 17 with 768 channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        across, down = (1, 7), (7, 1)
        self.branch1x1 = _Conv(768, 192, 1)
        self.branch7x7_1 = _Conv(768, width, 1)
        self.branch7x7_2 = _Conv(width, width, across, padding=(0, 3))
        self.branch7x7_3 = _Conv(width, 192, down, padding=(3, 0))
        self.branch7x7dbl_1 = _Conv(768, width, 1)
        self.branch7x7dbl_2 = _Conv(width, width, down, padding=(3, 0))
        self.branch7x7dbl_3 = _Conv(width, width, across, padding=(0, 3))
        self.branch7x7dbl_4 = _Conv(width, width, down, padding=(3, 0))
        self.branch7x7dbl_5 = _Conv(width, 192, across, padding=(0, 3))
        self.branch_pool = _Conv(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """To 768 channels."""
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat([self.branch1x1(x), once, twice, self.branch_pool(_mean(x))], 1)


class _To8(nn.Module):
    """Halves the grid to 8 x 8."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = _Conv(inputs, 192, 1)
        self.branch3x3_2 = _Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1 = _Conv(inputs, 192, 1)
        self.branch7x7x3_2 = _Conv(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = _Conv(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = _Conv(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """To 512 channels more."""
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([three, seven, functional.max_pool2d(x, 3, 2)], 1)


class _Grid8(nn.Module):
    """Paths that fork into 1x3 and 3x1, on a grid of 8 x 8; the pooled one takes means or, with `largest`, maxima."""

    def __init__(self, inputs: int, largest: bool) -> None:
        super().__init__()
        self.largest = largest
        self.branch1x1 = _Conv(inputs, 320, 1)
        self.branch3x3_1 = _Conv(inputs, 384, 1)
        self.branch3x3_2a = _Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = _Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = _Conv(inputs, 448, 1)
        self.branch3x3dbl_2 = _Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = _Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = _Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = _Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """To 2048 channels."""
        one = self.branch3x3_1(x)
        two = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = functional.max_pool2d(x, 3, 1, 1) if self.largest else _mean(x)
        forks = [self.branch3x3_2a(one), self.branch3x3_2b(one), self.branch3x3dbl_3a(two), self.branch3x3dbl_3b(two)]
        return torch.cat([self.branch1x1(x), *forks, self.branch_pool(pooled)], 1)
