"""What is done to all that a critic sees, real or made, so that it can't be convinced by what does not last.

Zhao et al., Differentiable Augmentation for Data-Efficient GAN Training, NeurIPS 2020: gradients pass through, and the
generator learns to convince however the picture is taken. Pure functions of what was drawn, `at` n x k in [0, 1).
Differs from the official code: shifts and squares are drawn for each picture in whole pixels as there, but colours are
left alone, since brightness is what tells hair apart, and blur is ours, as a few bright pixels do not outlast it.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


def erase(pixels: Tensor, at: Tensor, share: float) -> Tensor:
    """Pictures n x 3 x s x s with a square of side share x s made middle grey, wholly inside, where `at` n x 2 says."""
    size = pixels.shape[-1]
    side = round(share * size)
    top, left = (at * (size - side + 1)).floor()[:, :, None].unbind(1)
    line = torch.arange(size, device=pixels.device)
    rows, columns = ((line >= begin) & (line < begin + side) for begin in (top, left))
    return pixels * ~(rows[:, None, :, None] & columns[:, None, None, :])


def shift(pixels: Tensor, at: Tensor, share: float) -> Tensor:
    """Pictures n x 3 x s x s moved by up to share x s whole pixels any way, as `at` n x 2 says; grey comes in."""
    n, _, size, _ = pixels.shape
    most = round(share * size)
    begin = (at * (2 * most + 1)).floor().long()
    places = begin[:, :, None] + torch.arange(size, device=pixels.device)
    padded = functional.pad(pixels, [most] * 4).permute(0, 2, 3, 1)
    picture = torch.arange(n, device=pixels.device)[:, None, None]
    return padded[picture, places[:, 0, :, None], places[:, 1, None, :]].permute(0, 3, 1, 2)


def blur(pixels: Tensor, at: Tensor, most: float) -> Tensor:
    """Pictures n x 3 x s x s blurred by a Gaussian whose sigma is at x most pixels, `at` n x 1; edges are continued."""
    n, channels = pixels.shape[:2]
    reach = math.ceil(2 * most)
    steps = torch.arange(-reach, reach + 1, device=pixels.device)
    weights = torch.softmax(-0.5 * (steps / (at * most).clamp(min=1e-2)).square(), dim=1)
    kernel = weights.repeat_interleave(channels, dim=0)[:, None]
    padded = functional.pad(pixels, [reach] * 4, mode="replicate").flatten(0, 1)[None]
    across = functional.conv2d(padded, kernel[:, :, None, :], groups=n * channels)
    return functional.conv2d(across, kernel[:, :, :, None], groups=n * channels).view_as(pixels)
