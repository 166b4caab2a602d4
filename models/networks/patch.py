"""PatchGAN discriminators (Isola et al., CVPR 2017, section 6.1.2), keys as in the official PyTorch code.

`layers` sets the receptive field of a score: 0 layers see 1 pixel, 1 sees 16, 3 see 70, 5 see 286.
"""

from torch import Tensor, nn

from models.networks.layers import Norm, norm


def discriminator(inputs: int = 3, width: int = 64, layers: int = 3, kind: Norm = "instance") -> nn.Module:
    """The discriminator with so many layers; with 0, it scores each pixel alone."""
    return PatchDiscriminator(inputs, width, layers, kind) if layers else PixelDiscriminator(inputs, width, kind)


def smallest_side(layers: int) -> int:
    """The smallest side in pixels that gives a score, and every instance norm more than one value."""
    return 3 * 2**layers if layers else 2


class PatchDiscriminator(nn.Module):
    """Scores overlapping patches; raw scores, no sigmoid. Sides from `smallest_side(layers)`."""

    def __init__(self, inputs: int = 3, width: int = 64, layers: int = 3, kind: Norm = "instance") -> None:
        super().__init__()
        bias = kind == "instance"
        widths = [width * min(2**i, 8) for i in range(layers + 1)]
        model: list[nn.Module] = [nn.Conv2d(inputs, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2, True)]
        for i in range(1, layers + 1):
            stride = 2 if i < layers else 1
            model += [
                nn.Conv2d(widths[i - 1], widths[i], 4, stride=stride, padding=1, bias=bias),
                norm(kind, widths[i]),
                nn.LeakyReLU(0.2, True),
            ]
        model.append(nn.Conv2d(widths[-1], 1, 4, stride=1, padding=1))
        self.model = nn.Sequential(*model)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels n x inputs x h x w in [-1, 1] to scores n x 1 x h' x w' (256 with 3 layers gives 30)."""
        return self.model(pixels)  # type: ignore[no-any-return]


class PixelDiscriminator(nn.Module):
    """Scores every pixel alone by 1x1 convolutions."""

    def __init__(self, inputs: int = 3, width: int = 64, kind: Norm = "instance") -> None:
        super().__init__()
        bias = kind == "instance"
        self.net = nn.Sequential(
            nn.Conv2d(inputs, width, 1),
            nn.LeakyReLU(0.2, True),
            nn.Conv2d(width, width * 2, 1, bias=bias),
            norm(kind, width * 2),
            nn.LeakyReLU(0.2, True),
            nn.Conv2d(width * 2, 1, 1, bias=bias),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels n x inputs x h x w in [-1, 1] to scores n x 1 x h x w."""
        return self.net(pixels)  # type: ignore[no-any-return]
