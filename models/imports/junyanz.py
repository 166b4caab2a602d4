"""CycleGAN and pix2pix checkpoints of junyanz/pytorch-CycleGAN-and-pix2pix, with the options file beside them.

CycleGAN saves `latest_net_G_A.pth`, which translates the first domain to the second, and `latest_net_G_B.pth` for the
way back; a downloaded model is one file, `latest_net_G.pth`, from the first domain in the model's name to the second.
pix2pix saves `latest_net_G.pth`. The file does not say which way it goes: the options file does, or the user must.

Width, channels, blocks or levels, dropout and norms are all in the keys; only how to use the norms is not. The official
test normalises by the statistics of its batch, which is one picture. That is `batch` here: an instance norm with the
same weights does it for a batch of any size. `running` is the official `--eval`. Dropout is off in both: two runtimes
can't draw the same noise, and the official pix2pix test, which leaves dropout on, gives random results.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from models.bundle.manifest import Picture
from models.data.tables import domain
from models.errors import CheckpointError, OptionsError
from models.imports.checkpoint import RESNET, UNET, Checkpoint, fill, read
from models.imports.imported import Imported, check
from models.networks.layers import per_picture
from models.networks.resnet import ResNet
from models.networks.unet import UNet
from models.recipes.recipe import Exported

Direction = Literal["AtoB", "BtoA"]
Statistics = Literal["batch", "running"]

THERE, BACK = "a-to-b", "b-to-a"
"""The names of CycleGAN's graphs: G_A is the way there."""

_LUMA = (0.299, 0.587, 0.114)
_ORIGIN = "checkpoints as pytorch-CycleGAN-and-pix2pix saves them"
_FILES = ("train_opt.txt", "opt.txt")
_LINE = re.compile(r" *(\w+): (.*?)\s*(\[default: .*\])?")
# Their names before September 2018.
_FORMER = {
    "fineSize": "crop_size",
    "loadSize": "load_size",
    "resize_or_crop": "preprocess",
    "which_direction": "direction",
    "which_model_netG": "netG",
}
_SIZE = 256
# The options that the bundle's card repeats; the others are the publisher's folders and machines.
_FACTS = ("direction", "netG", "norm", "no_dropout", "preprocess", "load_size", "crop_size", "gan_mode", "batch_size")


@dataclass(frozen=True)
class Generator:
    """A generator in inference mode: pixels n x 3 x h x w in [-1, 1] to pixels of the same shape."""

    module: nn.Module
    multiple: int
    """Sides must be multiples of this, in pixels."""
    free: bool
    """Whether sides may differ from one picture to the next."""
    options: Mapping[str, tuple[str, ...]]
    """The values that the publisher's options may have had, by option, as far as the keys show."""
    summary: str
    """What it is, in words."""


def convert_cyclegan(files: Sequence[Path], domains: str, size: int | None, statistics: Statistics) -> Imported:
    """The bundle of one generator or of two.

    domains: `horse,zebra`, first what G_A takes, then what it makes; for a single generator, what it makes is enough.
    size: the side of pictures in pixels; None takes the one in the options file, else 256. Raises ModelErrors.
    """
    ways = _ways(files)
    checkpoints = {way: read(path) for way, path in ways.items()}
    found = {way: generator(checkpoint, statistics) for way, checkpoint in checkpoints.items()}
    options = {way: read_options(path) for way, path in ways.items()}
    for way, one in found.items():
        options[way].check(one)
    pictures = [options[way].picture(one, size) for way, one in found.items()]
    if any(picture != pictures[0] for picture in pictures):
        raise CheckpointError(f"{files[0]} and {files[1]} take pictures of different kinds; import each by itself")
    names = [name.strip() for name in domains.split(",")]
    if len(names) != 2 and (len(names), len(ways)) != (1, 1):
        raise OptionsError(f"--domains is {domains!r}; name two, first what G_A takes, then what it makes: horse,zebra")
    targets = {BACK: names[0], THERE: names[-1]}
    return Imported(
        family="cyclegan",
        domains=tuple(domain(targets[way]).model_copy(update={"graph": way}) for way in ways),
        picture=pictures[0],
        graphs={way: check(way, Exported(one.module), pictures[0]) for way, one in found.items()},
        origin=_ORIGIN,
        sources={way: checkpoints[way].source(one.summary) for way, one in found.items()},
        options=next(iter(options.values())).facts,
    )


def convert_pix2pix(
    file: Path, domains: str, direction: Direction | None, size: int | None, statistics: Statistics
) -> Imported:
    """The bundle of one generator.

    domains: what it makes; or the names of A and B, and the direction says which of them it makes. size: the side of
    pictures in pixels; None takes the one in the options file, else the network's own. Raises ModelErrors.
    """
    checkpoint, options = read(file), read_options(file)
    found = generator(checkpoint, statistics)
    options.check(found)
    trained = options.values.get("direction")
    if direction and trained and direction != trained:
        raise OptionsError(f"--direction is {direction}, but {options.path} says {trained}; leave it out")
    names = [name.strip() for name in domains.split(",")]
    if len(names) > 2:
        raise OptionsError(f"--domains is {domains!r}; name what the network makes, or A and B")
    if len(names) == 2 and (direction or trained) not in ("AtoB", "BtoA"):
        raise OptionsError(
            f"--domains names A and B, {domains!r}, and there is no train_opt.txt beside the file: "
            "give --direction AtoB or BtoA, or name only what the network makes"
        )
    made = names[0] if len(names) == 1 else names[(direction or trained) == "AtoB"]
    picture = options.picture(found, size)
    return Imported(
        family="pix2pix",
        domains=(domain(made),),
        picture=picture,
        graphs={"generator": check("generator", Exported(found.module), picture)},
        origin=_ORIGIN,
        sources={"generator": checkpoint.source(found.summary)},
        options=options.facts,
    )


@dataclass(frozen=True)
class TrainOptions:
    """The options file beside a checkpoint, by today's names; empty where there is no such file.

    It says what the checkpoint's keys can't: which way pix2pix goes, and how pictures were resized. Where both say
    something they must agree, or the file is from another training.
    """

    path: Path | None
    values: Mapping[str, str]

    @property
    def facts(self) -> dict[str, str]:
        """The options that the bundle's card repeats."""
        return {name: self.values[name] for name in _FACTS if name in self.values}

    def check(self, generator: Generator) -> None:
        """CheckpointError where an option and the keys contradict each other."""
        for name, allowed in generator.options.items():
            value = self.values.get(name)
            if value is not None and value not in allowed:
                raise CheckpointError(
                    f"{self.path} says {name}: {value}, but the checkpoint's keys say {' or '.join(allowed)}; "
                    "it belongs to another training: move it away, or import the checkpoint that it belongs to"
                )

    def picture(self, generator: Generator, size: int | None) -> Picture:
        """How pictures become tensors: as in training, unless `size` names another side.

        The official code squeezes the whole picture into the square, unless `--preprocess` kept its aspect.
        """
        usual = _SIZE if generator.free else generator.multiple
        cropped = self.values.get("crop_size", "")
        side = size or (int(cropped) if cropped.isdigit() else 0) or usual
        if side % generator.multiple:
            raise OptionsError(f"image size {side} is no multiple of {generator.multiple}, which this network needs")
        squeezed = self.values.get("preprocess", "resize_and_crop").startswith("resize")
        return Picture(
            size=side,
            multiple=generator.multiple,
            free=generator.free,
            resize="bicubic",
            crop="none" if squeezed else "centre",
        )


def read_options(checkpoint: Path) -> TrainOptions:
    """The options file in the checkpoint's folder."""
    path = next((path for name in _FILES if (path := checkpoint.parent / name).is_file()), None)
    if path is None:
        return TrainOptions(None, {})
    lines = (_LINE.fullmatch(line) for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    values = {line[1]: line[2] for line in lines if line}
    return TrainOptions(path, {_FORMER.get(name, name): value for name, value in values.items()})


def _ways(files: Sequence[Path]) -> Mapping[str, Path]:
    """The file for each way, the way there first: by the files' names, else in the given order."""
    if len(files) > 2:
        raise OptionsError(f"{len(files)} files are given; a CycleGAN has two generators, G_A and G_B")
    letters = [re.search(r"_net_G_([AB])\b", path.name) for path in files]
    named = [letter and {"A": THERE, "B": BACK}[letter[1]] for letter in letters]
    if len(files) == 1:
        return {named[0] or THERE: files[0]}
    if named[0] is not None and named[0] == named[1]:
        raise OptionsError(f"{files[0]} and {files[1]} go the same way by their names; give G_A and G_B")
    backwards = named[0] == BACK or named[1] == THERE
    return dict(zip((THERE, BACK), reversed(files) if backwards else files, strict=True))


@dataclass(frozen=True)
class _Norms:
    """What the keys of a norm and of the convolution before it say."""

    bias: bool
    weights: bool
    running: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The values of `--norm` that give these keys."""
        if self.weights and self.bias:
            return ("batch", "instance")  # in 2017 batch norms followed biases, and instance norms had weights
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
    """The generator of a checkpoint; CheckpointError where there is none, or where keys don't fit.

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
    # 10 layers before the blocks, 6 on the way up and a padding stand before the last convolution.
    outputs = (checkpoint.shape(f"model.{blocks + 17}.weight") or (3,))[0]
    # Without dropout the second convolution of a block is its layer 5, and 6 is a norm, if that has keys at all.
    dropout = len(checkpoint.shape("model.10.conv_block.6.weight")) == 4
    norms = _norms(checkpoint, "model.1", "model.2")
    network = ResNet(inputs, outputs, width, blocks, "instance" if norms.bias else "batch", dropout)
    return Generator(
        module=_load(network, checkpoint, norms, statistics, inputs, outputs),
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
    # Each level holds the next one as its layer 3; the innermost has none.
    while f"{prefix}.3.model.1.weight" in checkpoint.weights:
        prefix, levels = f"{prefix}.3.model", levels + 1
    width, inputs = checkpoint.shape("model.model.0.weight")[:2]
    outputs = (checkpoint.shape("model.model.3.weight") or (0, 3))[1]
    norms = _norms(checkpoint, "model.model.1.model.1", "model.model.1.model.2")
    if norms.bias and norms.weights:
        raise CheckpointError(
            f"{checkpoint.path} has biases before norms with weights, as U-Nets had before 22 August 2017: "
            "they join their skips in another order, and are not read"
        )
    network = UNet(inputs, outputs, levels, width, "instance" if norms.bias else "batch", dropout=False)
    return Generator(
        module=_load(network, checkpoint, norms, statistics, inputs, outputs),
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


def _load(
    network: nn.Module, checkpoint: Checkpoint, norms: _Norms, statistics: Statistics, inputs: int, outputs: int
) -> nn.Module:
    """The network in inference mode with the norms that the keys have and every key loaded, from colour to colour."""
    if statistics == "running" and not norms.running:
        raise OptionsError(f"{checkpoint.path} has no running statistics; only --statistics batch fits it")
    for name, site in list(network.named_modules()):
        if isinstance(site, nn.InstanceNorm2d | nn.BatchNorm2d):
            network.set_submodule(name, norms.module(site.num_features))
    fill(network, checkpoint)
    if not {inputs, outputs} <= {1, 3}:
        raise CheckpointError(
            f"{checkpoint.path} makes {outputs} channels from {inputs}; pictures have 3, or 1 if they are grey"
        )
    network = per_picture(network) if statistics == "batch" else network
    network = network.eval().requires_grad_(False)
    return network if inputs == outputs == 3 else _Colour(network, grey=inputs == 1)


class _Colour(nn.Module):
    """Three channels in and out of a network that reads or makes grey pictures.

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
