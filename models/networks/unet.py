"""The U-Net generator of pix2pix (Isola et al., CVPR 2017, section 6.1.1), keys as in the official PyTorch code.

In the official code a level's LeakyReLU works in place, so the skip carries its result. Here the skip carries the input
as it is, which makes no difference: the way up begins with a ReLU, and LeakyReLU followed by ReLU is ReLU.

Without skips it is the plain encoder-decoder that the paper compares with (table 2).
"""

import torch
from torch import Tensor, nn

from models.networks.layers import Norm, norm


class Level(nn.Module):
    """One level of the U: down, the levels below, up; a skip concatenates input and output, input first."""

    def __init__(self, layers: list[nn.Module], skip: bool) -> None:
        super().__init__()
        self.skip = skip
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Features n x c x h x w to n x c x h x w, or n x 2c x h x w with a skip."""
        y: Tensor = self.model(x)
        return torch.cat([x, y], dim=1) if self.skip else y


class UNet(nn.Module):
    """Encoder-decoder with skips; each side must be a multiple of 2**levels (8 levels: 256, 7 levels: 128).

    Dropout, the noise of pix2pix, is where the official code has it: on the way up, from the fifth level to the last
    but one. With 5 levels or fewer there is none.
    """

    def __init__(
        self,
        inputs: int = 3,
        outputs: int = 3,
        levels: int = 8,
        width: int = 64,
        kind: Norm = "batch",
        dropout: bool = True,
        skips: bool = True,
    ) -> None:
        super().__init__()
        if levels < 2:
            raise ValueError(f"a U-Net has at least 2 levels, not {levels}")
        widths = [width * min(2**level, 8) for level in range(levels)]
        bias = kind == "instance"
        fan = 2 if skips else 1
        # No norm after the innermost convolution: the map may be 1x1 there, and a norm would make it 0.
        layers = [_down(widths[-2], widths[-1], bias), nn.ReLU(), _up(widths[-1], widths[-2], bias)]
        below = Level([nn.LeakyReLU(0.2), *layers, norm(kind, widths[-2])], skips)
        for level in range(levels - 2, 0, -1):
            outer, inner = widths[level - 1], widths[level]
            layers = [nn.LeakyReLU(0.2), _down(outer, inner, bias), norm(kind, inner), below]
            layers += [nn.ReLU(), _up(fan * inner, outer, bias), norm(kind, outer)]
            below = Level(layers + ([nn.Dropout(0.5)] if dropout and level >= 4 else []), skips)
        layers = [_down(inputs, width, bias), below, nn.ReLU(), _up(fan * width, outputs, True), nn.Tanh()]
        self.model = Level(layers, skip=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels n x inputs x h x w in [-1, 1] to pixels n x outputs x h x w in [-1, 1]."""
        return self.model(pixels)  # type: ignore[no-any-return]


def _down(channels: int, inner: int, bias: bool) -> nn.Module:
    return nn.Conv2d(channels, inner, 4, stride=2, padding=1, bias=bias)


def _up(channels: int, outer: int, bias: bool) -> nn.Module:
    return nn.ConvTranspose2d(channels, outer, 4, stride=2, padding=1, bias=bias)
