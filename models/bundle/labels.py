"""What a classifier's logits say about a picture: probabilities, and the labels that the picture has."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from models.bundle.manifest import Domain, Manifest


def probabilities(manifest: Manifest, logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits float32 [n,c] to probabilities [n,c]: softmax within each group, sigmoid elsewhere."""
    _check_width(manifest, logits.shape[-1])
    # tanh instead of 1 / (1 + exp(-x)): it cannot overflow.
    result: NDArray[np.float32] = 0.5 + 0.5 * np.tanh(0.5 * logits)
    for columns in _group_columns(manifest):
        members = logits[:, columns]
        weights = np.exp(members - members.max(axis=1, keepdims=True))
        result[:, columns] = weights / weights.sum(axis=1, keepdims=True)
    return result


def own_labels(manifest: Manifest, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """The labels float32 [c] that a picture has: the likeliest of each group, and each attribute above one half.

    All probabilities are 0 where there is no classifier; then all labels are 0.
    """
    _check_width(manifest, len(probabilities))
    own = (probabilities > 0.5).astype(np.float32)
    for columns in _group_columns(manifest):
        likeliest = columns[int(np.argmax(probabilities[columns]))]
        own[columns] = 0
        # Of equal zeros none is likeliest: without a classifier the group stays empty.
        own[likeliest] = probabilities[likeliest] > 0
    return own


def _check_width(manifest: Manifest, columns: int) -> None:
    if columns != len(manifest.label_order):
        raise ValueError(f"{manifest.ref} has {len(manifest.label_order)} label columns, not {columns}")


def columns_of(domains: Iterable[Domain]) -> list[int]:
    """The label columns of the domains that have one."""
    return [domain.column for domain in domains if domain.column is not None]


def _group_columns(manifest: Manifest) -> list[list[int]]:
    return [columns for members in manifest.groups.values() if (columns := columns_of(members))]
