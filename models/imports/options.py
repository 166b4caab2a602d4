"""The options that pytorch-CycleGAN-and-pix2pix writes beside its checkpoints, as far as an import needs them.

They tell what the keys can't: which way pix2pix goes, and how pictures were brought to size. What the keys do tell
must agree, or the options are those of another training.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.bundle.manifest import Picture
from models.errors import CheckpointError, OptionsError
from models.imports.generators import Generator

ORIGIN = "checkpoints as pytorch-CycleGAN-and-pix2pix saves them"
"""Where these bundles come from."""

_FILES = ("train_opt.txt", "opt.txt")
_LINE = re.compile(r" *(\w+): (.*?)\s*(\[default: .*\])?")
# Names of before September 2018.
_FORMER = {
    "fineSize": "crop_size",
    "loadSize": "load_size",
    "resize_or_crop": "preprocess",
    "which_direction": "direction",
    "which_model_netG": "netG",
}
_SIZE = 256
# What goes into the bundle; others tell of somebody's folders and machines.
_FACTS = ("direction", "netG", "norm", "no_dropout", "preprocess", "load_size", "crop_size", "gan_mode", "batch_size")


@dataclass(frozen=True)
class TrainOptions:
    """What the options file says, by the names of today; nothing where there is none."""

    path: Path | None
    values: Mapping[str, str]

    @property
    def facts(self) -> dict[str, str]:
        """Those that the bundle's card repeats."""
        return {name: self.values[name] for name in _FACTS if name in self.values}

    def check(self, generator: Generator) -> None:
        """CheckpointError where an option says one thing and the keys another."""
        for name, allowed in generator.options.items():
            said = self.values.get(name)
            if said is not None and said not in allowed:
                raise CheckpointError(
                    f"{self.path} says {name}: {said}, but the checkpoint's keys say {' or '.join(allowed)}; "
                    "it belongs to another training: move it away, or import the checkpoint that it belongs to"
                )

    def picture(self, generator: Generator, size: int | None) -> Picture:
        """How pictures are brought to size: as in training, unless `size` says another side.

        The official code squeezes the whole picture into the square, unless `--preprocess` kept its aspect.
        """
        usual = _SIZE if generator.free else generator.multiple
        side = size or self._number("crop_size") or usual
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

    def _number(self, name: str) -> int | None:
        value = self.values.get(name, "")
        return int(value) if value.isdigit() else None


def read_beside(checkpoint: Path) -> TrainOptions:
    """The options in the checkpoint's folder."""
    path = next((path for name in _FILES if (path := checkpoint.parent / name).is_file()), None)
    if path is None:
        return TrainOptions(None, {})
    lines = (_LINE.fullmatch(line) for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    values = {line[1]: line[2] for line in lines if line}
    return TrainOptions(path, {_FORMER.get(name, name): value for name, value in values.items()})
