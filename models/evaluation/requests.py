"""What an attribute model is asked for: each domain, and of an attribute on its own also its absence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.bundle.manifest import Domain, Manifest

Labels = NDArray[np.float32]


@dataclass(frozen=True)
class Request:
    """One domain asked for, or its absence; label vectors are those of `columns`, the manifest's or one set's."""

    domain: Domain
    present: bool

    def __str__(self) -> str:
        return self.domain.name if self.present else f"-{self.domain.name}"

    def fulfilled(self, labels: Labels, columns: Sequence[Domain]) -> NDArray[np.bool_]:
        """Whether label vectors n x c are known to have what is asked."""
        fulfilled: NDArray[np.bool_] = labels[:, columns.index(self.domain)] == float(self.present)
        return fulfilled

    def lacking(self, labels: Labels, columns: Sequence[Domain]) -> NDArray[np.bool_]:
        """Whether label vectors n x c are known not to have what is asked."""
        lacking: NDArray[np.bool_] = labels[:, columns.index(self.domain)] == float(not self.present)
        return lacking

    def spared(self, columns: Sequence[Domain]) -> list[int]:
        """The columns that the request leaves alone: all but the domain's and its group's."""
        return [column for column, domain in enumerate(columns) if not self._concerns(domain)]

    def applied(self, own: Labels, manifest: Manifest) -> Labels:
        """The model's input n x (c + masks) for pictures with the labels `own` n x c, as serving makes it."""
        asked = own.copy()
        for column, domain in enumerate(columns_of(manifest)):
            if self._concerns(domain):
                asked[:, column] = self.present and domain == self.domain
        return masked(asked, self.domain.mask, manifest)

    def _concerns(self, domain: Domain) -> bool:
        return domain == self.domain or (domain.group is not None and domain.group == self.domain.group)


def columns_of(manifest: Manifest) -> tuple[Domain, ...]:
    """The domains of the label vector, in its order."""
    return tuple(domain for name in manifest.label_order if (domain := manifest.find(name)))


def requests(domains: Sequence[Domain]) -> list[Request]:
    """All requests for some domains, in their order."""
    ways = {True: (True,), False: (True, False)}
    return [Request(domain, present) for domain in domains for present in ways[domain.group is not None]]


def masked(labels: Labels, mask: str | None, manifest: Manifest) -> Labels:
    """Label vectors n x c with joint training's mask behind; columns of other masks are 0."""
    if mask is None:
        return labels
    known = np.array([domain.mask == mask for domain in columns_of(manifest)], np.float32)
    place = np.array([name == mask for name in manifest.mask_columns], np.float32)
    return np.concatenate([labels * known, np.broadcast_to(place, (len(labels), len(place)))], axis=1)
