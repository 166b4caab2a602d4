"""LPIPS: how different two pictures look (Zhang et al., CVPR 2018), version 0.1 on AlexNet; its weights are two files.

    d(x, y) = sum over layers l of the mean over places of  w_l . (f_l(x) - f_l(y))^2     (1)

f_l are the activations after AlexNet's five ReLUs, each place's vector divided by its length, w_l >= 0 the learned
weights of the layer's channels.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.bundle.manifest import Picture
from models.bundle.pixels import to_tensor
from models.errors import CheckpointError, OptionsError
from models.evaluation.features import Vectors, best_device
from models.evaluation.metrics import Pixels

# Of the convolutions in torchvision's AlexNet, by their number there: channels in and out, kernel, stride, padding;
# and whether 3x3 places are reduced to their maximum, every second, before.
_LAYERS = {
    0: (3, 64, 11, 4, 2, False),
    3: (64, 192, 5, 1, 2, True),
    6: (192, 384, 3, 1, 1, True),
    8: (384, 256, 3, 1, 1, False),
    10: (256, 256, 3, 1, 1, False),
}
_SMALLEST = 31
_BATCH = 32
# ImageNet's mean and deviation, in the range -1 to 1.
_MEAN, _DEVIATION = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_RANGE = Picture(size=64, range=(-1.0, 1.0))


class Lpips:
    """AlexNet's convolutions, and the weights of their channels."""

    def __init__(self, convolutions: nn.ModuleDict, weights: list[Tensor]) -> None:
        self._convolutions = convolutions
        self._weights = weights
        device = weights[0].device
        self._mean, self._deviation = (torch.tensor(v, device=device).view(3, 1, 1) for v in (_MEAN, _DEVIATION))

    def distances(self, a: Pixels, b: Pixels) -> Vectors:
        """Pictures n x s x s x 3, of 31 pixels or more, to n distances; 0 where they are equal."""
        if a.shape[1] < _SMALLEST:
            raise OptionsError(f"LPIPS wants pictures of {_SMALLEST} pixels or more, not {a.shape[1]}; leave it out")
        parts: list[Tensor] = []
        with torch.no_grad():
            for rows in (slice(start, start + _BATCH) for start in range(0, len(a), _BATCH)):
                parts.append(self._distance(self._tensor(a[rows]), self._tensor(b[rows])).cpu())
        values: Vectors = torch.cat(parts).double().numpy()
        return values

    def _tensor(self, pixels: Pixels) -> Tensor:
        return torch.from_numpy(to_tensor(pixels, _RANGE)).to(self._mean.device)

    def _distance(self, x: Tensor, y: Tensor) -> Tensor:
        squares = [(one - two) ** 2 for one, two in zip(self._activations(x), self._activations(y), strict=True)]
        means = [(weight * square).sum(1).mean((1, 2)) for weight, square in zip(self._weights, squares, strict=True)]
        return torch.stack(means).sum(0)

    def _activations(self, x: Tensor) -> list[Tensor]:
        """After each ReLU n x channels x h x w, of length 1 at each place."""
        x = (x - self._mean) / self._deviation
        found: list[Tensor] = []
        for number, (*_, reduced) in _LAYERS.items():
            x = functional.max_pool2d(x, 3, 2) if reduced else x
            x = functional.relu(self._convolutions[str(number)](x))
            found.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found


def open_lpips(linear: Path, backbone: Path) -> Lpips:
    """Reads LPIPS's own alex.pth of version 0.1 and torchvision's AlexNet; CheckpointError where they are not."""
    convolutions = nn.ModuleDict({str(n): nn.Conv2d(*layer[:5]) for n, layer in _LAYERS.items()})
    try:
        alexnet = torch.load(backbone, map_location="cpu", weights_only=True)
        kept = {f"{n}.{part}": alexnet[f"features.{n}.{part}"] for n in _LAYERS for part in ("weight", "bias")}
        convolutions.load_state_dict(kept)
    except Exception as error:
        raise CheckpointError(f"{backbone} is no AlexNet of torchvision: {str(error).splitlines()[0]}") from error
    try:
        own = torch.load(linear, map_location="cpu", weights_only=True)
        weights = [own[f"lin{place}.model.1.weight"].view(-1, 1, 1) for place in range(len(_LAYERS))]
    except Exception as error:
        raise CheckpointError(f"{linear} holds no weights of LPIPS: {str(error).splitlines()[0]}") from error
    if [len(weight) for weight in weights] != [layer[1] for layer in _LAYERS.values()]:
        raise CheckpointError(f"{linear} is LPIPS of another network than AlexNet; take its alex.pth")
    device = best_device()
    return Lpips(convolutions.to(device).requires_grad_(False), [weight.to(device) for weight in weights])
