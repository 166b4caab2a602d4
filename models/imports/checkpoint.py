"""Checkpoints of other implementations, read as tensors alone: code that a file names never runs.

Only the keys of a checkpoint say what it is. `kind` knows the published layouts, and `fill` uses each key exactly once
or refuses the file. Prefixes of wrappers (`module.`, `_orig_mod.`) are removed from the keys.
"""

import hashlib
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import CheckpointError
from models.imports.imported import Source

Weights = Mapping[str, Tensor]

STARGAN_GENERATOR = "a StarGAN generator"
STARGAN_DISCRIMINATOR = "a StarGAN discriminator"
RESNET = "a ResNet generator of CycleGAN or pix2pix"
UNET = "a U-Net generator of pix2pix"

_WRAPPERS = ("module.", "_orig_mod.")
_LISTED = 4

# The first entry whose keys are all there, with kernels of this side (0: any), names the kind.
_SIGNATURES: tuple[tuple[str, Mapping[str, int]], ...] = (
    (STARGAN_DISCRIMINATOR, {"main.0.bias": 0, "conv1.weight": 3, "conv2.weight": 0}),
    (STARGAN_GENERATOR, {"main.0.weight": 7, "main.3.weight": 4}),
    ("a local enhancer of pix2pixHD, which is not read", {"model1_1.1.weight": 7}),
    ("a global generator of pix2pixHD, which is not read", {"model.1.weight": 7, "model.10.weight": 3}),
    ("a generator of CUT, which is not read: it blurs where it resamples", {"model.1.weight": 7, "model.7.filt": 0}),
    (RESNET, {"model.1.weight": 7, "model.4.weight": 3, "model.10.conv_block.1.weight": 3}),
    ("a CycleGAN generator from before July 2017, padded with zeros, which is not read", {"model.0.weight": 7}),
    (UNET, {"model.model.0.weight": 4, "model.model.1.model.1.weight": 4}),
    ("a PatchGAN discriminator, which translates nothing", {"model.0.weight": 4, "model.2.weight": 4}),
    ("a pixel discriminator, which translates nothing", {"net.0.weight": 1, "net.2.weight": 1}),
)


@dataclass(frozen=True)
class Checkpoint:
    """The float32 weights of one file, on the CPU, by key."""

    path: Path
    weights: Weights
    sha256: str

    @property
    def kind(self) -> str:
        """What the keys say it is, in words; CheckpointError names some keys if the layout is unknown."""
        for words, keys in _SIGNATURES:
            if all(
                key in self.weights and (not side or self.shape(key)[2:] == (side, side)) for key, side in keys.items()
            ):
                return words
        raise CheckpointError(
            f"{self.path} has keys of no known layout: {_few(self.weights)}; "
            "known are the official PyTorch layouts of StarGAN, CycleGAN and pix2pix"
        )

    def source(self, summary: str) -> Source:
        """The file, for the bundle's card."""
        return Source(self.path.name, self.sha256, summary)

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of a key's tensor; empty where there is no such key."""
        return tuple(self.weights[key].shape) if key in self.weights else ()

    def numbers(self, pattern: str) -> list[int]:
        """The numbers that the pattern's one group matches in the keys, in rising order."""
        matches = (re.fullmatch(pattern, key) for key in self.weights)
        return sorted({int(match[1]) for match in matches if match})


def read(path: Path) -> Checkpoint:
    """Reads a state dict in any of PyTorch's formats, alone or as the only one in a dictionary.

    CheckpointError if the file holds none, or anything that would have to run.
    """
    state = _state_dict(path, _load(path))
    packed = [key for key, tensor in state.items() if tensor.is_quantized or tensor.is_complex() or tensor.is_sparse]
    if packed:
        raise CheckpointError(f"{path} holds quantised, complex or sparse tensors: {_few(packed)}; take plain ones")
    weights = {key: tensor.float() for key, tensor in state.items()}
    odd = [key for key, tensor in weights.items() if not tensor.isfinite().all()]
    if odd:
        raise CheckpointError(f"{path} holds values that are not finite: {_few(odd)}; take an earlier checkpoint")
    return Checkpoint(path, weights, sha256(path))


def sha256(path: Path) -> str:
    """The hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fill(network: nn.Module, checkpoint: Checkpoint, *, unused: str = "") -> None:
    """Loads every key of the checkpoint into the network, except those that match the pattern `unused`.

    CheckpointError names the keys that are missing, left over or of another shape. Batch norm's count of batches has
    no effect after training, so it may be missing.
    """
    wanted = {key: tuple(tensor.shape) for key, tensor in _without_counts(network.state_dict()).items()}
    given = {
        key: tensor for key, tensor in _without_counts(checkpoint.weights).items() if not re.fullmatch(unused, key)
    }
    problems = {
        "missing": [key for key in wanted if key not in given],
        "left over": [key for key in given if key not in wanted],
        "of another shape": [
            f"{key} {list(given[key].shape)} instead of {list(shape)}"
            for key, shape in wanted.items()
            if key in given and given[key].shape != shape
        ],
    }
    found = [f"{words}: {_few(keys)}" for words, keys in problems.items() if keys]
    if found:
        raise CheckpointError(
            f"{checkpoint.path} looks like {checkpoint.kind}, but its keys don't fit; {'; '.join(found)}"
        )
    network.load_state_dict(given)


def _without_counts(weights: Weights) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in weights.items() if not key.endswith("num_batches_tracked")}


def _load(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd formats, which are refused below or load anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror or error}") from error
    except Exception as error:  # foreign bytes can make the unpickler raise anything
        text = str(error)
        save = "save the weights alone where it was made: torch.save(network.state_dict(), FILE)"
        if named := re.search(r"GLOBAL (\S+)", text):
            code = named[1].rstrip(".")
            reason = f"holds {code}, which is code and not tensors: opening it could run anything; {save}"
        elif ".tar format" in text or "TorchScript" in text:
            reason = f"is in a format that can't be opened without running its content; {save}"
        elif isinstance(error, RuntimeError):
            reason = f"is not a readable checkpoint: {text.splitlines()[0].split('. ')[0]}"
        else:
            reason = f"is not a file of torch.save, or is incomplete; copy it again, or {save}"
        raise CheckpointError(f"{path} {reason}") from error


def _state_dict(path: Path, content: Any) -> dict[str, Tensor]:
    """The content itself if it is a state dict, else the only one in it; without the prefixes of wrappers."""
    found = {"": content} if _is_state_dict(content) else {}
    if not found and isinstance(content, Mapping):
        found = {str(name): part for name, part in content.items() if _is_state_dict(part)}
    if len(found) != 1:
        names = f": {', '.join(found)}" if found else ""
        raise CheckpointError(
            f"{path} holds {len(found)} state dicts{names}; it must hold one: save the generator's by itself"
        )
    state: dict[str, Tensor] = next(iter(found.values()))
    for wrapper in _WRAPPERS * 2:  # either may be around the other
        if all(key.startswith(wrapper) for key in state):
            state = {key.removeprefix(wrapper): tensor for key, tensor in state.items()}
    return state


def _is_state_dict(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items())
    )


def _few(keys: Iterable[str]) -> str:
    names = list(keys)
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
