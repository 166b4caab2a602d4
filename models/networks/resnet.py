"""The ResNet generator of CycleGAN (Zhu et al., ICCV 2017, section 7.2), keys as in the official PyTorch code."""

from torch import Tensor, nn

from models.networks.layers import Norm, norm


class ResidualBlock(nn.Module):
    """Two reflection-padded 3x3 convolutions; the input is added and no ReLU follows the sum."""

    def __init__(self, channels: int, kind: Norm, dropout: bool) -> None:
        super().__init__()
        bias = kind == "instance"
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            norm(kind, channels),
            nn.ReLU(True),
        ]
        # Dropout shifts the second convolution from index 5 to 6: the only trace it leaves in a checkpoint.
        layers += [nn.Dropout(0.5)] if dropout else []
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), norm(kind, channels)]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Features n x c x h x w to features of the same shape."""
        return x + self.conv_block(x)  # type: ignore[no-any-return]


class ResNet(nn.Module):
    """Down twice, residual blocks (published: 6 for 128 pixels, 9 for 256), up twice; any sides from 5 pixels."""

    def __init__(
        self,
        inputs: int = 3,
        outputs: int = 3,
        width: int = 64,
        blocks: int = 9,
        kind: Norm = "instance",
        dropout: bool = False,
    ) -> None:
        super().__init__()
        bias = kind == "instance"
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(inputs, width, 7, bias=bias),
            norm(kind, width),
            nn.ReLU(True),
        ]
        for channels in (width, width * 2):
            layers += [
                nn.Conv2d(channels, channels * 2, 3, stride=2, padding=1, bias=bias),
                norm(kind, channels * 2),
                nn.ReLU(True),
            ]
        layers += [ResidualBlock(width * 4, kind, dropout) for _ in range(blocks)]
        for channels in (width * 4, width * 2):
            layers += [
                nn.ConvTranspose2d(channels, channels // 2, 3, stride=2, padding=1, output_padding=1, bias=bias),
                norm(kind, channels // 2),
                nn.ReLU(True),
            ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, outputs, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels n x inputs x h x w in [-1, 1] to n x outputs x h' x w', sides rounded up to a multiple of 4."""
        return self.model(pixels)  # type: ignore[no-any-return]
