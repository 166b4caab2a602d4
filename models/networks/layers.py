"""Shared by the networks of CycleGAN and pix2pix: normalisation, initial weights and inference twins."""

from copy import deepcopy
from itertools import chain
from typing import Literal

from torch import nn

Norm = Literal["instance", "batch"]


def norm(kind: Norm, channels: int) -> nn.Module:
    """Instance norm without weights or running statistics, or batch norm with both, as in the official code."""
    return nn.InstanceNorm2d(channels) if kind == "instance" else nn.BatchNorm2d(channels)


def initialise(network: nn.Module, deviation: float = 0.02) -> None:
    """Draws convolutions from N(0, deviation) and batch norms' scales from N(1, deviation); biases become 0.

    As CycleGAN (appendix 7.1), pix2pix (section 6.2) and their official code do, after DCGAN (Radford et al. 2016).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, deviation)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, deviation)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def twin(network: nn.Module) -> nn.Module:
    """The same network on the same weights, not copies, with a train or eval mode of its own."""
    # deepcopy takes what it finds in its memo for copied already.
    return deepcopy(network, {id(tensor): tensor for tensor in chain(network.parameters(), network.buffers())})


def per_picture(network: nn.Module) -> nn.Module:
    """A twin that normalises by each picture's own statistics instead of the batch's.

    Its instance norms have the batch norms' scale, shift and epsilon: for any batch they give the bits of batch norm in
    training mode on one picture. It neither reads nor moves running statistics.
    """
    made = twin(network)
    for name, module in list(made.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            own = nn.InstanceNorm2d(module.num_features, module.eps, affine=True)
            own.weight, own.bias = module.weight, module.bias
            made.set_submodule(name, own)
    return made
