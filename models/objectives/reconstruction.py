"""Distances between pictures in tanh units."""

from torch import Tensor


def l1(x: Tensor, y: Tensor) -> Tensor:
    """E[||x - y||_1], the mean over batch and pixels (StarGAN eq. 4; CycleGAN eq. 2; pix2pix eq. 3)."""
    return (x - y).abs().mean()
