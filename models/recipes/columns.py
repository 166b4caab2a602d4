"""What the columns of a label vector mean: attributes, classes that exclude each other, and the sets that know them.

A single labelled set is a joint one with one set and one mask, which no network sees.
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
    """The columns of one labelled set, and how logits n x c are judged by labels, what is known and smoothing: to n."""

    places: list[int]
    loss: Callable[[Tensor, Tensor, Tensor, float], Tensor]

    @classmethod
    def of(cls, domains: tuple[Domain, ...], mask: str | None) -> Self:
        """The set of that mask; where all its domains are one group, they are classes and not attributes."""
        places = [place for place, domain in enumerate(domains) if domain.mask == mask]
        groups = {domains[place].group for place in places}
        return cls(places, class_loss if len(groups) == 1 and None not in groups else attribute_loss)


class Columns:
    """The columns c of `domains`, of the sets m that `masks` names or of one; masks n x m are one-hot.

    Labels n x c are 0, 1 or UNKNOWN, which those of other sets than a picture's own always are.
    """

    def __init__(self, domains: tuple[Domain, ...], masks: tuple[str, ...]) -> None:
        self.domains = domains
        self.sets = tuple(LabelSet.of(domains, mask) for mask in masks or (None,))
        self._set_of = [i for place in range(len(self)) for i, each in enumerate(self.sets) if place in each.places]
        names = [domain.group or f"alone {domain.name}" for domain in domains]
        self.units = [sorted(set(names)).index(name) for name in names]
        """For each column the number of what changes as one: a group, or an attribute of its own."""

    def __len__(self) -> int:
        """Columns."""
        return len(self.domains)

    def loss(self, logits: Tensor, c: Tensor, smoothing: float = 0.0) -> Tensor:
        """The mean over pictures of what is wrong with logits n x c, by the labels that are known."""
        known = c != UNKNOWN
        losses = [
            each.loss(logits[:, each.places], c[:, each.places], known[:, each.places], smoothing) for each in self.sets
        ]
        return torch.stack(losses).sum(dim=0).mean()

    def own(self, m: Tensor) -> Tensor:
        """n x c: 1 in the columns of each picture's own set, 0 in those of others."""
        return m[:, self._set_of]

    def completed(self, c: Tensor, logits: Tensor) -> Tensor:
        """Labels n x c, with unknown ones as the logits n x c have them."""
        read = (logits > 0).to(c)
        for unit in set(self.units):
            places = [place for place, number in enumerate(self.units) if number == unit]
            if len(places) > 1:
                read[:, places] = functional.one_hot(logits[:, places].argmax(dim=1), len(places)).to(c)
        return torch.where(c == UNKNOWN, read, c)

    def asked(self, c: Tensor, place: int) -> tuple[Tensor, Tensor]:
        """Labels n x c and masks n x m that ask for one domain; of other sets than the domain's, labels are 0.

        A group's member goes on and its fellows off, an attribute turns over.
        """
        m = c.new_zeros(len(c), len(self.sets))
        m[:, self._set_of[place]] = 1
        asked = c * self.own(m)
        fellows = [other for other, unit in enumerate(self.units) if unit == self.units[place]]
        asked[:, fellows] = 0
        asked[:, place] = 1 if len(fellows) > 1 else 1 - c[:, place]
        return asked, m
