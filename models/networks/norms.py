"""The two normalisations of the CycleGAN and pix2pix lineage, built in one place so that their flags agree."""

from typing import Literal

from torch import nn

Norm = Literal["instance", "batch"]


def norm(kind: Norm, channels: int) -> nn.Module:
    """Instance norm without weights or running statistics, or batch norm with both, as the official code has them."""
    return nn.InstanceNorm2d(channels) if kind == "instance" else nn.BatchNorm2d(channels)
