"""StarGAN's generator and critic (Choi et al., CVPR 2018, tables 4 and 5), layer for layer as in the official code.

State-dict keys equal those of the official checkpoints, except that the instance norms have no running statistics: the
official test never reads them. So train() and eval() are the same here.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn


def _norm(channels: int) -> nn.InstanceNorm2d:
    return nn.InstanceNorm2d(channels, affine=True)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with instance norm; the input is added and no ReLU follows the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            _norm(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            _norm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features n x c x h x w to features of the same shape."""
        return x + self.main(x)  # type: ignore[no-any-return]


class Generator(nn.Module):
    """Translates pictures to the domains of a label vector.

    All padding is by zeros: reflected label planes would be constant, and instance norm would remove them.

    With `mask` another head gives each pixel's share m of the new picture, out = m G(x) + (1 - m) x (Pumarola et al.,
    GANimation, ECCV 2018, eq. 1). The published network has none: it paints the whole picture, and must first learn to
    restore the colours that its instance norms remove.
    """

    def __init__(self, labels: int, width: int = 64, blocks: int = 6, mask: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(3 + labels, width, 7, padding=3, bias=False),
            _norm(width),
            nn.ReLU(inplace=True),
        ]
        for channels in (width, width * 2):
            layers += [
                nn.Conv2d(channels, channels * 2, 4, stride=2, padding=1, bias=False),
                _norm(channels * 2),
                nn.ReLU(inplace=True),
            ]
        layers += [ResidualBlock(width * 4) for _ in range(blocks)]
        for channels in (width * 4, width * 2):
            layers += [
                nn.ConvTranspose2d(channels, channels // 2, 4, stride=2, padding=1, bias=False),
                _norm(channels // 2),
                nn.ReLU(inplace=True),
            ]
        layers += [nn.Conv2d(width, 3, 7, padding=3, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*layers)
        self.mask = nn.Conv2d(width, 1, 7, padding=3) if mask else None
        if self.mask is not None and self.mask.bias is not None:
            # Open at first: if it closes before the critic knows the domains, little gradient can open it again.
            nn.init.constant_(self.mask.bias, 2.0)

    def forward(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Pixels n x 3 x h x w in [-1, 1] and labels n x c in [0, 1] to pixels of the same shape.

        Output sides are rounded down to a multiple of 4.
        """
        planes = labels[:, :, None, None].expand(-1, -1, pixels.shape[2], pixels.shape[3])
        features: Tensor = self.main[:-2](torch.cat([pixels, planes], dim=1))
        made: Tensor = self.main[-2:](features)
        if self.mask is None:
            return made
        share = torch.sigmoid(self.mask(features))
        return share * made + (1 - share) * pixels


class Critic(nn.Module):
    """Scores patches as real or made (no sigmoid, no norm) and classifies the picture's domains.

    With `projection` the score also depends on the labels that the picture claims (Miyato and Koyama, ICLR 2018, eq. 3,
    with a projection for each patch and label), so a made picture competes with the real ones of its domain. The
    published critic scores without labels.
    """

    def __init__(
        self, labels: int, size: int = 128, width: int = 64, layers: int = 6, projection: bool = False
    ) -> None:
        super().__init__()
        if size % 2**layers:
            raise ValueError(f"size {size} is no multiple of {2**layers}: take fewer critic layers than {layers}")
        channels = [3, *(width * 2**i for i in range(layers))]
        trunk: list[nn.Module] = []
        for before, after in pairwise(channels):
            trunk += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.01)]
        self.main = nn.Sequential(*trunk)
        self.conv1 = nn.Conv2d(channels[-1], 1, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels[-1], labels, size // 2**layers, bias=False)
        self.projection = nn.Conv2d(channels[-1], labels, 3, padding=1, bias=False) if projection else None

    def forward(self, pixels: Tensor, claimed: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Pixels n x 3 x size x size in [-1, 1] to patch scores n x 1 x p x p and domain logits n x c.

        `claimed` n x c in [0, 1] are the labels for the projection, if there is one; a label of 0.5 adds nothing, and
        None leaves the projection out.
        """
        features = self.main(pixels)
        score = self.conv1(features)
        if self.projection is not None and claimed is not None:
            signs = (2 * claimed - 1)[:, :, None, None]
            score = score + (signs * self.projection(features)).sum(dim=1, keepdim=True)
        return score, self.conv2(features).flatten(1)
