"""The two normalisations of the CycleGAN and pix2pix lineage, built in one place so that their flags agree."""

from copy import deepcopy
from itertools import chain
from typing import Literal

from torch import nn

Norm = Literal["instance", "batch"]


def norm(kind: Norm, channels: int) -> nn.Module:
    """Instance norm without weights or running statistics, or batch norm with both, as the official code has them."""
    return nn.InstanceNorm2d(channels) if kind == "instance" else nn.BatchNorm2d(channels)


def twin(network: nn.Module) -> nn.Module:
    """The same network on the same weights, which are not copied; its modes can be set without the other's."""
    tensors = chain(network.parameters(), network.buffers())
    return deepcopy(network, {id(tensor): tensor for tensor in tensors})


def per_picture(network: nn.Module) -> nn.Module:
    """A twin that normalises by each picture's own statistics where the network takes those of the batch.

    Batch norm in training mode on a batch of one picture, to the bit, for any batch: an instance norm with the batch
    norm's scale, shift and epsilon. Running statistics are neither read nor moved.
    """
    made = twin(network)
    for name, module in list(made.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            own = nn.InstanceNorm2d(module.num_features, module.eps, affine=True)
            own.weight, own.bias = module.weight, module.bias
            made.set_submodule(name, own)
    return made
