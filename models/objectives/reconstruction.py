"""Distances between pictures in tanh units."""

from torch import Tensor


def l1(x: Tensor, y: Tensor) -> Tensor:
    """E[||x - y||_1], the mean over batch and pixels (StarGAN eq. 4; CycleGAN eq. 2; pix2pix eq. 3)."""
    return (x - y).abs().mean()


def l2(x: Tensor, y: Tensor) -> Tensor:
    """E[||x - y||_2^2], the mean over batch and pixels (pix2pix section 3.1, which takes L1 as it blurs less)."""
    return (x - y).square().mean()
