"""One atomic file of tensors and plain data; a kill, a full disk or a power cut leave the last good one."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from models.errors import CheckpointError, RunError

_SUFFIX = ".ckpt"
_UNFINISHED = ".tmp"


def save(folder: Path, step: int, content: Mapping[str, Any], keep: int) -> Path:
    """Writes `folder/STEP.ckpt` beside, flushes it, renames it into place, then drops all but the `keep` newest.

    RunError when it can't be written; what was there before stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"*{_UNFINISHED}"):  # by a save that was killed
        left.unlink()
    path = folder / f"{step:08d}{_SUFFIX}"
    beside = path.with_suffix(_UNFINISHED)
    try:
        _write(beside, content)
        beside.replace(path)
        _flush_names(folder)
    except (OSError, RuntimeError) as error:
        reason = _refusal(error)
        if reason is None:
            raise
        wrote, free = beside.stat().st_size if beside.exists() else 0, shutil.disk_usage(folder).free
        raise RunError(
            f"{path} can't be written: {reason.strerror} after {wrote / 1e6:.0f} MB, {free / 1e6:.0f} MB are free; "
            f"make room and resume, {_remaining(folder)}"
        ) from error
    finally:
        beside.unlink(missing_ok=True)
    for old in saved(folder)[keep:]:
        old.unlink()
    return path


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with path.open("wb") as file:
        torch.save(dict(content), file)
        file.flush()
        os.fsync(file.fileno())


def _flush_names(folder: Path) -> None:
    """After a power cut the new name is there before old ones are gone."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refusal(error: BaseException | None) -> OSError | None:
    """What the system said: PyTorch's writer stumbles over the refusal that it met, and reports its stumbling."""
    while error is not None and not isinstance(error, OSError):
        error = error.__context__
    return error


def _remaining(folder: Path) -> str:
    names = [path.name for path in saved(folder)]
    return f"the last good checkpoint is {names[0]}" if names else "there is no earlier checkpoint"


def saved(folder: Path) -> list[Path]:
    """The checkpoints of a run, newest first."""
    return sorted(folder.glob(f"*{_SUFFIX}"), reverse=True)


def load(path: Path) -> dict[str, Any]:
    """Reads a checkpoint; nothing in the file is executed. CheckpointError when it isn't one."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torn bytes make the unpickler raise whatever they happen to spell
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} is no checkpoint that can be read: {reason}") from error
    if not isinstance(content, dict) or not {"recipe", "step", "networks"} <= content.keys():
        raise CheckpointError(f"{path} is no checkpoint of `recast train`")
    return content
