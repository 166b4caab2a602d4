"""State dicts in the layouts of the reference implementations, all of random weights.

Keys and shapes are written down from the published layouts alone, without the project's own networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

State = dict[str, Tensor]


@dataclass(frozen=True)
class Norms:
    """Which keys norms have, and whether the convolutions before them have a bias."""

    bias: bool = False
    weights: bool = False
    running: bool = False
    counters: bool = False


INSTANCE = Norms(bias=True)
"""Instance norm of pytorch-CycleGAN-and-pix2pix: no keys of its own."""
TRACKED = Norms(bias=True, running=True, counters=True)
"""The same from June to October 2018."""
BATCH = Norms(weights=True, running=True, counters=True)
BATCH_UNCOUNTED = Norms(weights=True, running=True)
"""Batch norm of before PyTorch 0.4.1."""
BATCH_OF_2017 = Norms(bias=True, weights=True, running=True)
NONE = Norms()

STARGAN = Norms(weights=True, running=True, counters=True)
"""StarGAN's instance norms, as today's PyTorch saves them."""
STARGAN_OF_2018 = Norms(weights=True, running=True)
"""As in the published files."""
STARGAN_BARE = Norms(weights=True)


class _Maker:
    def __init__(self, norms: Norms, seed: int) -> None:
        self.norms = norms
        self.state: State = {}
        self._random = torch.Generator().manual_seed(seed)

    def convolution(self, key: str, *shape: int, bias: int = 0) -> None:
        """A kernel, whose output is about as large as its input, and `bias` biases."""
        self.state[f"{key}.weight"] = self._draw(shape, prod(shape[1:]) ** -0.5)
        if bias:
            self.state[f"{key}.bias"] = self._draw((bias,), 0.3)

    def normed(self, key: str, *shape: int, norm: str, channels: int) -> None:
        """A convolution and the norm of its output."""
        self.convolution(key, *shape, bias=channels if self.norms.bias else 0)
        if self.norms.weights:
            self.state[f"{norm}.weight"] = 1 + self._draw((channels,), 0.3)
            self.state[f"{norm}.bias"] = self._draw((channels,), 0.3)
        if self.norms.running:
            self.state[f"{norm}.running_mean"] = self._draw((channels,), 0.3)
            self.state[f"{norm}.running_var"] = 0.5 + self._draw((channels,), 0.3).abs()
        if self.norms.counters:
            self.state[f"{norm}.num_batches_tracked"] = torch.tensor(7)

    def _draw(self, shape: Sequence[int], scale: float) -> Tensor:
        return scale * torch.randn(*shape, generator=self._random)


def stargan_generator(
    labels: int = 5, width: int = 4, blocks: int = 1, norms: Norms = STARGAN_OF_2018, seed: int = 0
) -> State:
    """`200000-G.ckpt` of yunjey/stargan."""
    make, deep = _Maker(norms, seed), 4 * width
    make.normed("main.0", width, 3 + labels, 7, 7, norm="main.1", channels=width)
    make.normed("main.3", 2 * width, width, 4, 4, norm="main.4", channels=2 * width)
    make.normed("main.6", deep, 2 * width, 4, 4, norm="main.7", channels=deep)
    for block in range(9, 9 + blocks):
        for layer in (0, 3):
            key = f"main.{block}.main"
            make.normed(f"{key}.{layer}", deep, deep, 3, 3, norm=f"{key}.{layer + 1}", channels=deep)
    up = 9 + blocks
    make.normed(f"main.{up}", deep, 2 * width, 4, 4, norm=f"main.{up + 1}", channels=2 * width)
    make.normed(f"main.{up + 3}", 2 * width, width, 4, 4, norm=f"main.{up + 4}", channels=width)
    make.convolution(f"main.{up + 6}", 3, width, 7, 7)
    return make.state


def stargan_discriminator(labels: int = 5, width: int = 4, layers: int = 3, kernel: int = 4, seed: int = 1) -> State:
    """`200000-D.ckpt` of yunjey/stargan, for pictures of kernel * 2**layers pixels."""
    make = _Maker(NONE, seed)
    channels = [3, *(width * 2**layer for layer in range(layers))]
    for layer in range(layers):
        make.convolution(f"main.{2 * layer}", channels[layer + 1], channels[layer], 4, 4, bias=channels[layer + 1])
    make.convolution("conv1", 1, channels[-1], 3, 3)
    make.convolution("conv2", labels, channels[-1], kernel, kernel)
    return make.state


def resnet(
    norms: Norms = INSTANCE,
    *,
    width: int = 4,
    blocks: int = 2,
    dropout: bool = False,
    inputs: int = 3,
    outputs: int = 3,
    seed: int = 0,
) -> State:
    """`latest_net_G_A.pth` of a `resnet_Nblocks`."""
    make, deep = _Maker(norms, seed), 4 * width
    make.normed("model.1", width, inputs, 7, 7, norm="model.2", channels=width)
    make.normed("model.4", 2 * width, width, 3, 3, norm="model.5", channels=2 * width)
    make.normed("model.7", deep, 2 * width, 3, 3, norm="model.8", channels=deep)
    second = 6 if dropout else 5
    for block in range(10, 10 + blocks):
        for layer in (1, second):
            key = f"model.{block}.conv_block"
            make.normed(f"{key}.{layer}", deep, deep, 3, 3, norm=f"{key}.{layer + 1}", channels=deep)
    up = 10 + blocks
    make.normed(f"model.{up}", deep, 2 * width, 3, 3, norm=f"model.{up + 1}", channels=2 * width)
    make.normed(f"model.{up + 3}", 2 * width, width, 3, 3, norm=f"model.{up + 4}", channels=width)
    make.convolution(f"model.{up + 7}", outputs, width, 7, 7, bias=outputs)
    return make.state


def unet(
    norms: Norms = BATCH, *, levels: int = 5, width: int = 2, inputs: int = 3, outputs: int = 3, seed: int = 0
) -> State:
    """`latest_net_G.pth` of a `unet_N`, N = 2**levels; dropout leaves no trace in it."""
    make = _Maker(norms, seed)
    widths = [width * min(2**level, 8) for level in range(levels)]
    make.convolution("model.model.0", width, inputs, 4, 4, bias=width if norms.bias else 0)
    key = "model.model.1.model"
    for level in range(1, levels - 1):
        outer, inner = widths[level - 1], widths[level]
        make.normed(f"{key}.1", inner, outer, 4, 4, norm=f"{key}.2", channels=inner)
        make.normed(f"{key}.5", 2 * inner, outer, 4, 4, norm=f"{key}.6", channels=outer)
        key = f"{key}.3.model"
    make.convolution(f"{key}.1", widths[-1], widths[-2], 4, 4, bias=widths[-1] if norms.bias else 0)
    make.normed(f"{key}.3", widths[-1], widths[-2], 4, 4, norm=f"{key}.4", channels=widths[-2])
    make.convolution("model.model.3", 2 * width, outputs, 4, 4, bias=outputs)
    return make.state
