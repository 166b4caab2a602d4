"""One atomic file of tensors and plain data; a kill at any instant leaves the last good one."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from models.errors import CheckpointError

_SUFFIX = ".ckpt"


def save(folder: Path, step: int, content: Mapping[str, Any], keep: int) -> Path:
    """Writes `folder/STEP.ckpt` beside, flushes it, renames it into place, then drops all but the `keep` newest."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{step:08d}{_SUFFIX}"
    beside = path.with_suffix(".tmp")
    with beside.open("wb") as file:
        torch.save(dict(content), file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    for old in saved(folder)[keep:]:
        old.unlink()
    return path


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
