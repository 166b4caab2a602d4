"""The U-Net generator of pix2pix (Isola et al., CVPR 2017, section 6.1.1), keys as in the official PyTorch code.

Skips carry what the parent's LeakyReLU left: the official code works in place there, which is harmless because the
way up begins with a ReLU, and LeakyReLU followed by ReLU is ReLU.
"""

import torch
from torch import Tensor, nn

from models.networks.norms import Norm, norm


class SkipBlock(nn.Module):
    """One level of the U: down, what lies below, up; its input is joined to its output, input first."""

    def __init__(self, layers: list[nn.Module], outermost: bool = False) -> None:
        super().__init__()
        self.outermost = outermost
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Features n x c x h x w to n x (c + own) x h x w; the outermost block gives the picture alone."""
        y: Tensor = self.model(x)
        return y if self.outermost else torch.cat([x, y], dim=1)


class UNet(nn.Module):
    """Encoder-decoder with skips; each side must be a multiple of 2**levels (8 levels: 256, 7 levels: 128)."""

    def __init__(
        self,
        inputs: int = 3,
        outputs: int = 3,
        levels: int = 8,
        width: int = 64,
        kind: Norm = "batch",
        dropout: bool = True,
    ) -> None:
        super().__init__()
        if levels < 5:
            raise ValueError(f"a U-Net has at least 5 levels, not {levels}")
        deep = width * 8
        block = _innermost(deep, kind)
        for _ in range(levels - 5):
            block = _middle(deep, deep, block, kind, dropout)
        for outer, inner in ((width * 4, deep), (width * 2, width * 4), (width, width * 2)):
            block = _middle(outer, inner, block, kind, False)
        self.model = _outermost(inputs, outputs, width, block, kind)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels n x inputs x h x w in [-1, 1] to pixels n x outputs x h x w in [-1, 1]."""
        return self.model(pixels)  # type: ignore[no-any-return]


def _down(channels: int, inner: int, kind: Norm) -> nn.Conv2d:
    return nn.Conv2d(channels, inner, 4, stride=2, padding=1, bias=kind == "instance")


def _up(channels: int, outer: int, bias: bool) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, outer, 4, stride=2, padding=1, bias=bias)


def _innermost(channels: int, kind: Norm) -> SkipBlock:
    # No norm after the convolution: at the bottom the map is 1x1, and a norm would leave nothing of it.
    return SkipBlock(
        [
            nn.LeakyReLU(0.2),
            _down(channels, channels, kind),
            nn.ReLU(),
            _up(channels, channels, kind == "instance"),
            norm(kind, channels),
        ]
    )


def _middle(outer: int, inner: int, below: SkipBlock, kind: Norm, dropout: bool) -> SkipBlock:
    layers: list[nn.Module] = [nn.LeakyReLU(0.2), _down(outer, inner, kind), norm(kind, inner), below]
    layers += [nn.ReLU(), _up(inner * 2, outer, kind == "instance"), norm(kind, outer)]
    return SkipBlock(layers + ([nn.Dropout(0.5)] if dropout else []))


def _outermost(inputs: int, outputs: int, width: int, below: SkipBlock, kind: Norm) -> SkipBlock:
    down = _down(inputs, width, kind)
    return SkipBlock([down, below, nn.ReLU(), _up(width * 2, outputs, True), nn.Tanh()], outermost=True)
