"""The two generators of pytorch-CycleGAN-and-pix2pix, built as the keys of a checkpoint say.

Width, channels, blocks or levels, dropout and norms are all in the keys; only how the norms are to be used is not.
The official test normalises by the statistics of its batch, which is one picture: `batch` here, made independent of
the batch by an instance norm of the same weights. `running` is the official `--eval`. Dropout is off in both: what
it draws can't be the same in two runtimes, so the official default, which leaves it on for pix2pix, is random.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from models.errors import CheckpointError, OptionsError
from models.imports.checkpoint import RESNET, UNET, Checkpoint, fill
from models.networks.layers import per_picture
from models.networks.resnet import ResNet
from models.networks.unet import UNet

Statistics = Literal["batch", "running"]

_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Generator:
    """A generator in inference mode: pixels n x 3 x h x w in [-1, 1] to pixels of the same shape."""

    module: nn.Module
    multiple: int
    """Sides must be multiples of this, in pixels."""
    free: bool
    """Whether sides may differ from one picture to the next."""
    options: Mapping[str, tuple[str, ...]]
    """What the publisher's options may have been, by their names, as far as the keys tell."""
    summary: str
    """What it is, in words."""


@dataclass(frozen=True)
class _Norms:
    """What the keys of a norm and of the convolution before it show."""

    bias: bool
    weights: bool
    running: bool

    @property
    def names(self) -> tuple[str, ...]:
        """What `--norm` may have said; several where keys are the same."""
        if self.weights and self.bias:
            return ("batch", "instance")  # of 2017, when batch norms followed biases and instance norms had weights
        if self.weights:
            return ("batch", "syncbatch")
        return ("instance",) if self.bias else ("none",)

    def module(self, channels: int) -> nn.Module:
        """A norm with exactly the parameters and statistics that the keys have.

        Instance norms of June to October 2018 kept statistics without weights, which no later code reads.
        """
        if self.running:
            return nn.BatchNorm2d(channels, affine=self.weights)
        if self.weights or self.bias:
            return nn.InstanceNorm2d(channels, affine=self.weights)
        return nn.Identity()


def generator(checkpoint: Checkpoint, statistics: Statistics) -> Generator:
    """The generator of a checkpoint; CheckpointError where it holds none, or keys that do not fit.

    OptionsError for running statistics that the file does not have.
    """
    if checkpoint.kind not in (RESNET, UNET):
        raise CheckpointError(
            f"{checkpoint.path} holds {checkpoint.kind}; a generator of CycleGAN or pix2pix is needed"
        )
    return _resnet(checkpoint, statistics) if checkpoint.kind == RESNET else _unet(checkpoint, statistics)


def _resnet(checkpoint: Checkpoint, statistics: Statistics) -> Generator:
    blocks = len(checkpoint.numbers(r"model\.(\d+)\.conv_block\.1\.weight"))
    width, inputs = checkpoint.shape("model.1.weight")[:2]
    outputs = (checkpoint.shape(f"model.{blocks + 17}.weight") or (3,))[0]
    # Without dropout the second convolution of a block is its layer 5, and 6 is a norm, if that has keys at all.
    dropout = len(checkpoint.shape("model.10.conv_block.6.weight")) == 4
    norms = _norms(checkpoint, "model.1", "model.2")
    network = ResNet(inputs, outputs, width, blocks, "instance" if norms.bias else "batch", dropout)
    loaded = _loaded(network, checkpoint, norms, statistics)
    return Generator(
        module=_in_colour(loaded, inputs, outputs, checkpoint),
        multiple=4,
        free=True,
        options={
            "netG": (f"resnet_{blocks}blocks",),
            "no_dropout": (str(not dropout),),
            **_common_options(norms, inputs, outputs, width),
        },
        summary=f"ResNet, {blocks} blocks, width {width}, {_words(norms, statistics)}",
    )


def _unet(checkpoint: Checkpoint, statistics: Statistics) -> Generator:
    prefix, levels = "model.model.1.model", 2
    while f"{prefix}.3.model.1.weight" in checkpoint.weights:
        prefix, levels = f"{prefix}.3.model", levels + 1
    width, inputs = checkpoint.shape("model.model.0.weight")[:2]
    outputs = (checkpoint.shape("model.model.3.weight") or (0, 3))[1]
    norms = _norms(checkpoint, "model.model.1.model.1", "model.model.1.model.2")
    if norms.bias and norms.weights:
        raise CheckpointError(
            f"{checkpoint.path} has biases before norms with weights, as U-Nets of before 22 August 2017: "
            "they joined their skips in another order, and are not read"
        )
    network = UNet(inputs, outputs, levels, width, "instance" if norms.bias else "batch", dropout=False)
    loaded = _loaded(network, checkpoint, norms, statistics)
    return Generator(
        module=_in_colour(loaded, inputs, outputs, checkpoint),
        multiple=2**levels,
        free=False,
        options={"netG": (f"unet_{2**levels}",), **_common_options(norms, inputs, outputs, width)},
        summary=f"U-Net, {levels} levels, width {width}, {_words(norms, statistics)}",
    )


def _norms(checkpoint: Checkpoint, convolution: str, norm: str) -> _Norms:
    keys = checkpoint.weights
    return _Norms(f"{convolution}.bias" in keys, f"{norm}.weight" in keys, f"{norm}.running_mean" in keys)


def _common_options(norms: _Norms, inputs: int, outputs: int, width: int) -> dict[str, tuple[str, ...]]:
    return {"norm": norms.names, "input_nc": (str(inputs),), "output_nc": (str(outputs),), "ngf": (str(width),)}


def _words(norms: _Norms, statistics: Statistics) -> str:
    if norms.names == ("none",):
        return "no norm"
    whose = "the training's" if statistics == "running" else "each picture's own"
    return f"{norms.names[0]} norm with {whose} statistics"


def _loaded(network: nn.Module, checkpoint: Checkpoint, norms: _Norms, statistics: Statistics) -> nn.Module:
    """The network with the norms that the keys have, every key loaded, in inference mode."""
    if statistics == "running" and not norms.running:
        raise OptionsError(f"{checkpoint.path} has no running statistics; only --statistics batch fits it")
    for name, site in list(network.named_modules()):
        if isinstance(site, nn.InstanceNorm2d | nn.BatchNorm2d):
            network.set_submodule(name, norms.module(site.num_features))
    fill(network, checkpoint)
    network = per_picture(network) if statistics == "batch" else network
    return network.eval().requires_grad_(False)


def _in_colour(network: nn.Module, inputs: int, outputs: int, checkpoint: Checkpoint) -> nn.Module:
    if not {inputs, outputs} <= {1, 3}:
        raise CheckpointError(
            f"{checkpoint.path} makes {outputs} channels of {inputs}; pictures have 3, or 1 where they are grey"
        )
    return network if inputs == outputs == 3 else _Colour(network, grey=inputs == 1)


class _Colour(nn.Module):
    """A network that reads or makes grey pictures, behind three channels in and out.

    Grey is the luma of ITU-R 601, as `--input_nc 1` makes it, but not rounded to a level.
    """

    luma: Tensor

    def __init__(self, network: nn.Module, grey: bool) -> None:
        super().__init__()
        self.network = network
        self.grey = grey
        self.register_buffer("luma", torch.tensor(_LUMA).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels n x 3 x h x w in [-1, 1] to pixels of the same shape."""
        seen = (pixels * self.luma).sum(dim=1, keepdim=True) if self.grey else pixels
        made: Tensor = self.network(seen)
        return made.expand(-1, 3, -1, -1)
