"""Checkpoints and other nested states, compared to the bit."""

import torch
from torch import Tensor


def flat(state: object, prefix: str = "") -> dict[str, object]:
    """A nested state as one dictionary of leaves."""
    if isinstance(state, dict):
        return {k: v for key, value in state.items() for k, v in flat(value, f"{prefix}/{key}").items()}
    if isinstance(state, list):
        return flat(dict(enumerate(state)), prefix)
    return {prefix: state}


def differing(one: object, other: object) -> list[str]:
    """The leaves of two states that are not equal to the bit, or that only one of them has."""
    mine, theirs = flat(one), flat(other)
    missing = mine.keys() ^ theirs.keys()
    return [*missing, *(key for key in mine.keys() & theirs.keys() if not _equal(mine[key], theirs[key]))]


def _equal(a: object, b: object) -> bool:
    return torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a == b
