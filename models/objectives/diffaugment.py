"""Differentiable augmentations of every picture that a critic sees, real or made.

Zhao et al., Differentiable Augmentation for Data-Efficient GAN Training, NeurIPS 2020: gradients pass through, so the
generator must convince the critic under every augmentation. Pure functions of the draws `at` n x k in [0, 1). As in the
official code, shifts and squares are in whole pixels, one draw for each picture. Unlike there, colours do not change,
since brightness distinguishes hair colours, and there is a blur, which removes speckles of a few bright pixels.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


def erase(pixels: Tensor, at: Tensor, share: float) -> Tensor:
    """Pictures n x 3 x s x s with a grey (0) square of side share x s inside, at the place `at` n x 2."""
    size = pixels.shape[-1]
    side = round(share * size)
    top, left = (at * (size - side + 1)).floor()[:, :, None].unbind(1)
    line = torch.arange(size, device=pixels.device)
    rows, columns = ((line >= begin) & (line < begin + side) for begin in (top, left))
    return pixels * ~(rows[:, None, :, None] & columns[:, None, None, :])


def shift(pixels: Tensor, at: Tensor, share: float) -> Tensor:
    """Pictures n x 3 x s x s, shifted by up to share x s whole pixels each way by `at` n x 2; the gap is grey (0)."""
    n, _, size, _ = pixels.shape
    most = round(share * size)
    begin = (at * (2 * most + 1)).floor().long()
    places = begin[:, :, None] + torch.arange(size, device=pixels.device)
    padded = functional.pad(pixels, [most] * 4).permute(0, 2, 3, 1)
    picture = torch.arange(n, device=pixels.device)[:, None, None]
    return padded[picture, places[:, 0, :, None], places[:, 1, None, :]].permute(0, 3, 1, 2)


def blur(pixels: Tensor, at: Tensor, most: float) -> Tensor:
    """Pictures n x 3 x s x s, blurred by a Gaussian with a sigma of `at` n x 1 times `most` pixels; edges repeat."""
    n, channels = pixels.shape[:2]
    reach = math.ceil(2 * most)
    steps = torch.arange(-reach, reach + 1, device=pixels.device)
    weights = torch.softmax(-0.5 * (steps / (at * most).clamp(min=1e-2)).square(), dim=1)
    kernel = weights.repeat_interleave(channels, dim=0)[:, None]
    padded = functional.pad(pixels, [reach] * 4, mode="replicate").flatten(0, 1)[None]
    across = functional.conv2d(padded, kernel[:, :, None, :], groups=n * channels)
    return functional.conv2d(across, kernel[:, :, :, None], groups=n * channels).view_as(pixels)
