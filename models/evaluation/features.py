"""Features of pictures from networks with published weights: Inception v3 for FID and KID, AlexNet for LPIPS.

The user gives the files of weights; nothing is downloaded. docs/decisions/0008-our-own-inception-and-lpips.md says why
these networks do not come from a library.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.bundle.manifest import Picture
from models.bundle.pixels import to_tensor
from models.errors import CheckpointError, OptionsError
from models.evaluation.metrics import Pixels, Vectors

SIDE = 299
"""Inception's input, pixels a side."""
WIDTH = 2048
"""Features of Inception's last pooling."""

_BATCH, _LPIPS_BATCH = 64, 32
_UNIT = Picture(size=SIDE, range=(0.0, 1.0))
_UNUSED = ("fc.", "AuxLogits.")

# The convolutions of torchvision's AlexNet by their number there: channels in and out, kernel, stride, padding; and
# whether max pooling (3x3, stride 2) comes before.
_ALEXNET = {
    0: (3, 64, 11, 4, 2, False),
    3: (64, 192, 5, 1, 2, True),
    6: (192, 384, 3, 1, 1, True),
    8: (384, 256, 3, 1, 1, False),
    10: (256, 256, 3, 1, 1, False),
}
_SMALLEST = 31  # pixels a side; smaller pictures have no place left in the last layer
# ImageNet's mean and standard deviation, in the range -1 to 1.
_MEAN, _DEVIATION = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_SIGNED = Picture(size=64, range=(-1.0, 1.0))


def best_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def in_batches(network: Callable[[Tensor], Tensor], pixels: Pixels, picture: Picture, device: torch.device) -> Vectors:
    """Runs pictures n x s x s x 3 through a network on a device, a few at a time; float64 n x ..."""
    parts: list[Tensor] = []
    with torch.no_grad():
        for start in range(0, len(pixels), _BATCH):
            tensor = torch.from_numpy(to_tensor(pixels[start : start + _BATCH], picture))
            parts.append(network(tensor.to(device)).cpu())
    vectors: Vectors = torch.cat(parts).double().numpy()
    return vectors


class Inception:
    """The 2048 features of Inception's last pooling, on which FID and KID are published."""

    def __init__(self, network: "InceptionV3") -> None:
        self._network = network

    def features(self, pixels: Pixels) -> Vectors:
        """Pictures n x s x s x 3, enlarged to 299 x 299 bilinearly, to vectors n x 2048."""

        def run(x: Tensor) -> Tensor:
            # As pytorch-fid resizes; torch-fidelity follows TensorFlow, whose grid lies half a pixel elsewhere.
            resized = functional.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False)
            features: Tensor = self._network(2 * resized - 1)
            return features

        return in_batches(run, pixels, _UNIT, next(self._network.parameters()).device)


def open_inception(path: Path) -> Inception:
    """Reads a state dict of pt_inception-2015-12-05; CheckpointError for another file."""
    network = InceptionV3()
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        missing, unknown = network.load_state_dict(
            {name: value for name, value in weights.items() if not name.startswith(_UNUSED)}, strict=False
        )
    except Exception as error:
        raise CheckpointError(f"{path} has no weights that can be read: {str(error).splitlines()[0]}") from error
    # The published file is older than PyTorch's counters of batches, which evaluation does not use.
    lacking = [name for name in missing if not name.endswith("num_batches_tracked")]
    if lacking or unknown:
        raise CheckpointError(f"{path} is not pt_inception-2015-12-05: {[*lacking, *unknown][0]} does not fit")
    return Inception(network.to(best_device()).eval().requires_grad_(False))


class Lpips:
    """LPIPS (Zhang et al., CVPR 2018), version 0.1 on AlexNet: how different two pictures look.

        d(x, y) = sum over layers l of the mean over places of  w_l . (f_l(x) - f_l(y))^2     (1)

    f_l are the activations after AlexNet's five ReLUs, the vector at each place divided by its length; w_l >= 0 are the
    learned weights of the layer's channels.
    """

    def __init__(self, convolutions: nn.ModuleDict, weights: list[Tensor]) -> None:
        self._convolutions = convolutions
        self._weights = weights
        device = weights[0].device
        self._mean, self._deviation = (torch.tensor(v, device=device).view(3, 1, 1) for v in (_MEAN, _DEVIATION))

    def distances(self, a: Pixels, b: Pixels) -> Vectors:
        """Pictures n x s x s x 3, of 31 pixels or more, to n distances; 0 where they are equal."""
        if a.shape[1] < _SMALLEST:
            raise OptionsError(f"LPIPS needs pictures of {_SMALLEST} pixels or more, not {a.shape[1]}; leave it out")
        parts: list[Tensor] = []
        with torch.no_grad():
            for start in range(0, len(a), _LPIPS_BATCH):
                x, y = (self._activations(pixels[start : start + _LPIPS_BATCH]) for pixels in (a, b))
                layers = zip(self._weights, x, y, strict=True)
                means = [(weight * (one - two) ** 2).sum(1).mean((1, 2)) for weight, one, two in layers]
                parts.append(torch.stack(means).sum(0).cpu())
        values: Vectors = torch.cat(parts).double().numpy()
        return values

    def _activations(self, pixels: Pixels) -> list[Tensor]:
        """After each ReLU n x channels x h x w, of length 1 at each place."""
        x = (torch.from_numpy(to_tensor(pixels, _SIGNED)).to(self._mean.device) - self._mean) / self._deviation
        found: list[Tensor] = []
        for number, (*_, reduced) in _ALEXNET.items():
            x = functional.max_pool2d(x, 3, 2) if reduced else x
            x = functional.relu(self._convolutions[str(number)](x))
            # The offset is that of the official code.
            found.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found


def open_lpips(linear: Path, backbone: Path) -> Lpips:
    """Reads LPIPS's alex.pth of version 0.1 and torchvision's AlexNet; CheckpointError for other files."""
    convolutions = nn.ModuleDict({str(n): nn.Conv2d(*layer[:5]) for n, layer in _ALEXNET.items()})
    try:
        alexnet = torch.load(backbone, map_location="cpu", weights_only=True)
        kept = {f"{n}.{part}": alexnet[f"features.{n}.{part}"] for n in _ALEXNET for part in ("weight", "bias")}
        convolutions.load_state_dict(kept)
    except Exception as error:
        raise CheckpointError(f"{backbone} is not torchvision's AlexNet: {str(error).splitlines()[0]}") from error
    try:
        own = torch.load(linear, map_location="cpu", weights_only=True)
        weights = [own[f"lin{place}.model.1.weight"].view(-1, 1, 1) for place in range(len(_ALEXNET))]
    except Exception as error:
        raise CheckpointError(f"{linear} has no weights of LPIPS: {str(error).splitlines()[0]}") from error
    if [len(weight) for weight in weights] != [layer[1] for layer in _ALEXNET.values()]:
        raise CheckpointError(f"{linear} is LPIPS for another network than AlexNet; take its alex.pth")
    device = best_device()
    return Lpips(convolutions.to(device).requires_grad_(False), [weight.to(device) for weight in weights])


class InceptionV3(nn.Module):
    """Inception v3 (Szegedy et al., CVPR 2016) as in TensorFlow's inception-2015-12-05, without its classifier.

    Modules have the names of the published file. It differs from the usual network (torchvision's) in two ways: average
    pooling does not count the padding, and the last block pools the maximum where the others pool the mean.
    """

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
    """Average pooling over 3 x 3; the padding does not count."""
    return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class _Grid35(nn.Module):
    """Branches of 1x1, 5x5, two 3x3 and pooling, on a grid of 35 x 35."""

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
        """n x inputs x 35 x 35 to n x (224 + pooled) x 35 x 35."""
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
        """n x inputs x 35 x 35 to n x (inputs + 480) x 17 x 17."""
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), three, functional.max_pool2d(x, 3, 2)], 1)


class _Grid17(nn.Module):
    """Branches of 1x1, 7x7 (as 1x7 and 7x1), two such, and pooling, on a grid of 17 x 17 with 768 channels."""

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
        """n x 768 x 17 x 17 to the same shape."""
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
        """n x inputs x 17 x 17 to n x (inputs + 512) x 8 x 8."""
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([three, seven, functional.max_pool2d(x, 3, 2)], 1)


class _Grid8(nn.Module):
    """Branches that fork into 1x3 and 3x1, on a grid of 8 x 8; it pools the mean, or with `largest` the maximum."""

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
        """n x inputs x 8 x 8 to n x 2048 x 8 x 8."""
        one = self.branch3x3_1(x)
        two = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = functional.max_pool2d(x, 3, 1, 1) if self.largest else _mean(x)
        forks = [self.branch3x3_2a(one), self.branch3x3_2b(one), self.branch3x3dbl_3a(two), self.branch3x3dbl_3b(two)]
        return torch.cat([self.branch1x1(x), *forks, self.branch_pool(pooled)], 1)
