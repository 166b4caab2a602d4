"""The meaning of label columns: attributes, classes that exclude each other, and the labelled sets that have them.

A single labelled set is a joint training with one set and one mask, which no network sees.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from models.bundle.manifest import Domain
from models.data.tables import UNKNOWN
from models.objectives.supervised import attribute_loss, class_loss


@dataclass(frozen=True)
class LabelSet:
    """The columns of one labelled set and their loss."""

    places: list[int]
    loss: Callable[[Tensor, Tensor, Tensor, float], Tensor]
    """Logits, labels and which labels are known, all n x c, and the smoothing, to n losses."""

    @classmethod
    def of(cls, domains: tuple[Domain, ...], mask: str | None) -> Self:
        """The set with that mask; if all its domains are one group, they are classes and not attributes."""
        places = [place for place, domain in enumerate(domains) if domain.mask == mask]
        groups = {domains[place].group for place in places}
        return cls(places, class_loss if len(groups) == 1 and None not in groups else attribute_loss)


class Columns:
    """The c columns of `domains`, in the m sets that `masks` names, or in one set; masks n x m are one-hot.

    Labels n x c are 0, 1 or UNKNOWN. A picture's labels are always UNKNOWN in the columns of other sets than its own.
    """

    def __init__(self, domains: tuple[Domain, ...], masks: tuple[str, ...]) -> None:
        self.domains = domains
        self.sets = tuple(LabelSet.of(domains, mask) for mask in masks or (None,))
        self._set_of = [i for place in range(len(self)) for i, each in enumerate(self.sets) if place in each.places]
        # No group's name has a space, so an attribute can't fall into a group that is called like it.
        names = [domain.group or f"alone {domain.name}" for domain in domains]
        self.units = [sorted(set(names)).index(name) for name in names]
        """For each column the number of its unit, which changes as a whole: a group, or a single attribute."""

    def __len__(self) -> int:
        """The number of columns."""
        return len(self.domains)

    def loss(self, logits: Tensor, c: Tensor, smoothing: float = 0.0) -> Tensor:
        """The classification loss of logits n x c by the known labels, summed over sets, the mean over pictures."""
        known = c != UNKNOWN
        losses = [
            each.loss(logits[:, each.places], c[:, each.places], known[:, each.places], smoothing) for each in self.sets
        ]
        return torch.stack(losses).sum(dim=0).mean()

    def own(self, m: Tensor) -> Tensor:
        """Masks n x m to n x c: 1 in the columns of each picture's own set, 0 in all others."""
        return m[:, self._set_of]

    def fill_unknown(self, c: Tensor, logits: Tensor) -> Tensor:
        """Labels n x c with the unknown ones read from the logits n x c."""
        read = (logits > 0).to(c)
        for unit in set(self.units):
            places = [place for place, number in enumerate(self.units) if number == unit]
            if len(places) > 1:
                read[:, places] = functional.one_hot(logits[:, places].argmax(dim=1), len(places)).to(c)
        return torch.where(c == UNKNOWN, read, c)

    def request(self, c: Tensor, place: int) -> tuple[Tensor, Tensor]:
        """Labels n x c and masks n x m that request one domain; the labels of other sets than the domain's are 0.

        The request switches a member of a group on and its other members off; it flips an attribute.
        """
        m = c.new_zeros(len(c), len(self.sets))
        m[:, self._set_of[place]] = 1
        requested = c * self.own(m)
        members = [other for other, unit in enumerate(self.units) if unit == self.units[place]]
        requested[:, members] = 0
        requested[:, place] = 1 if len(members) > 1 else 1 - c[:, place]
        return requested, m
