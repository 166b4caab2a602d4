"""The published networks as plain functions of a state dict, layer for layer, to compare imports with.

Norms take each picture's own mean and variance, as batch norm in training mode does on a batch of one; or they take
those of the training; or there are none.
"""

from typing import Literal

import torch
from support.checkpoints import State
from torch import Tensor
from torch.nn import functional as F

Statistics = Literal["batch", "running", "none"]

EPSILON = 1e-5


def stargan_translated(state: State, pixels: Tensor, labels: Tensor) -> Tensor:
    """yunjey/stargan's generator, running statistics never read."""
    blocks = len({key.split(".")[1] for key in state if ".main." in key})
    planes = labels.view(*labels.shape, 1, 1).repeat(1, 1, *pixels.shape[2:])
    x = torch.cat([pixels, planes], dim=1)
    for layer, stride, padding in ((0, 1, 3), (3, 2, 1), (6, 2, 1)):
        x = F.relu(_norm(state, f"main.{layer + 1}", _conv(state, f"main.{layer}", x, stride, padding)))
    for block in range(9, 9 + blocks):
        key = f"main.{block}.main"
        y = F.relu(_norm(state, f"{key}.1", _conv(state, f"{key}.0", x, 1, 1)))
        x = x + _norm(state, f"{key}.4", _conv(state, f"{key}.3", y, 1, 1))
    for layer in (9 + blocks, 12 + blocks):
        x = F.relu(_norm(state, f"main.{layer + 1}", _up(state, f"main.{layer}", x, 0)))
    return torch.tanh(_conv(state, f"main.{15 + blocks}", x, 1, 3))


def stargan_logits(state: State, pixels: Tensor) -> Tensor:
    """yunjey/stargan's discriminator: what it says of the domains."""
    x = pixels
    for layer in range(0, 2 * sum(key.startswith("main.") and key.endswith(".weight") for key in state), 2):
        x = F.leaky_relu(_conv(state, f"main.{layer}", x, 2, 1), 0.01)
    return _conv(state, "conv2", x, 1, 0).view(len(pixels), -1)


def resnet_translated(state: State, pixels: Tensor, *, dropout: bool = False, use: Statistics = "batch") -> Tensor:
    """`resnet_Nblocks` of pytorch-CycleGAN-and-pix2pix, in which dropout, itself off, shifts a layer."""
    blocks = len({key.split(".")[1] for key in state if "conv_block" in key})
    x = F.relu(_norm(state, "model.2", _conv(state, "model.1", _reflected(pixels, 3), 1, 0), use))
    for layer in (4, 7):
        x = F.relu(_norm(state, f"model.{layer + 1}", _conv(state, f"model.{layer}", x, 2, 1), use))
    second = 6 if dropout else 5
    for block in range(10, 10 + blocks):
        key = f"model.{block}.conv_block"
        y = F.relu(_norm(state, f"{key}.2", _conv(state, f"{key}.1", _reflected(x, 1), 1, 0), use))
        x = x + _norm(state, f"{key}.{second + 1}", _conv(state, f"{key}.{second}", _reflected(y, 1), 1, 0), use)
    for layer in (10 + blocks, 13 + blocks):
        x = F.relu(_norm(state, f"model.{layer + 1}", _up(state, f"model.{layer}", x, 1), use))
    return torch.tanh(_conv(state, f"model.{17 + blocks}", _reflected(x, 3), 1, 0))


def unet_translated(state: State, pixels: Tensor, *, use: Statistics = "batch") -> Tensor:
    """`unet_N` of pytorch-CycleGAN-and-pix2pix, dropout off."""
    x = _conv(state, "model.model.0", pixels, 2, 1)
    x = _level(state, "model.model.1.model", x, use)
    return torch.tanh(_up(state, "model.model.3", F.relu(x), 0))


def _level(state: State, key: str, x: Tensor, use: Statistics) -> Tensor:
    """One level below the outermost, joined to what came in."""
    y = _conv(state, f"{key}.1", F.leaky_relu(x, 0.2), 2, 1)
    if f"{key}.5.weight" in state:
        y = _level(state, f"{key}.3.model", _norm(state, f"{key}.2", y, use), use)
        y = _norm(state, f"{key}.6", _up(state, f"{key}.5", F.relu(y), 0), use)
    else:
        y = _norm(state, f"{key}.4", _up(state, f"{key}.3", F.relu(y), 0), use)
    return torch.cat([x, y], dim=1)


def _conv(state: State, key: str, x: Tensor, stride: int, padding: int) -> Tensor:
    return F.conv2d(x, state[f"{key}.weight"], state.get(f"{key}.bias"), stride, padding)


def _up(state: State, key: str, x: Tensor, output_padding: int) -> Tensor:
    """Twice the size; 3-pixel kernels need a row and a column more."""
    return F.conv_transpose2d(x, state[f"{key}.weight"], state.get(f"{key}.bias"), 2, 1, output_padding)


def _reflected(x: Tensor, padding: int) -> Tensor:
    return F.pad(x, (padding,) * 4, mode="reflect")


def _norm(state: State, key: str, x: Tensor, use: Statistics = "batch") -> Tensor:
    if use == "none":
        return x
    mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
    if use == "running":
        mean = state[f"{key}.running_mean"].view(1, -1, 1, 1)
        variance = state[f"{key}.running_var"].view(1, -1, 1, 1)
    y = (x - mean) / torch.sqrt(variance + EPSILON)
    if f"{key}.weight" not in state:
        return y
    return y * state[f"{key}.weight"].view(1, -1, 1, 1) + state[f"{key}.bias"].view(1, -1, 1, 1)
