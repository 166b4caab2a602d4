"""Pictures with labels, whatever layout they come from; a label is 1.0, 0.0 or `UNKNOWN`, never -1.

Of a group all labels are known or none: whose black hair is known has no blond hair, and where every colour is known to
be absent, there is none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from models.bundle.manifest import Domain, Picture, canonical
from models.data.augment import augment
from models.data.data import Description, Example
from models.data.pictures import Pictures, Pixels
from models.errors import DataError

Labels = NDArray[np.float32]

UNKNOWN = 0.5
"""The label of what nobody has told: finite, so that it can be carried through arithmetic, and no label otherwise."""


@dataclass(frozen=True)
class Table:
    """One part of a labelled set: n files, what its c columns are called, and n x c values of 0, 1 or `UNKNOWN`."""

    paths: tuple[Path, ...]
    columns: tuple[str, ...]
    values: Labels
    domains: str = ""
    """The set's own choice of domains, as `parse_domains` reads it; empty for every column."""
    group: str | None = None
    """Where it is set, each picture has one column only, and those of columns that nobody chose are left out."""
    problems: tuple[str, ...] = ()
    """What is wrong with it."""


class Labelled:
    """Pictures with labels, and of joint sets the set that each one comes from."""

    def __init__(
        self,
        pictures: Pictures,
        labels: Labels,
        description: Description,
        flip: bool,
        masks: Labels | None = None,
        order: Sequence[int] | None = None,
    ) -> None:
        self.pictures = pictures
        self.labels = labels
        self.masks = masks
        self.description = description
        self.flip = flip
        self.order = range(len(pictures)) if order is None else order
        """The picture of each example; those of rare labels and of small sets may come again."""

    def __len__(self) -> int:
        """Examples in the set."""
        return len(self.order)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The pictures' files."""
        return self.pictures.paths

    def picture(self, index: int) -> Pixels:
        """The picture at `index`, size x size x 3, not flipped; DataError when it can't be read."""
        return self.pictures[index]

    def example(self, index: int, random: np.random.Generator) -> Example:
        """{"pixels": size x size x 3, "labels": c}, and "masks" where sets are joined; mirrored every other time."""
        row = self.order[index]
        (pixels,) = augment([self.pictures[row]], self.description.picture.size, self.flip, random)
        example: Example = {"pixels": pixels, "labels": self.labels[row]}
        return example if self.masks is None else {**example, "masks": self.masks[row]}


def choose(table: Table, domains: tuple[Domain, ...]) -> tuple[Table, tuple[Domain, ...]]:
    """The table with the columns of the domains, in their order, and the domains as the table has them.

    DataError for a domain without a column, and when no picture is left.
    """
    known = {canonical(column): index for index, column in enumerate(table.columns)}
    missing = [domain.name for domain in domains if domain.name not in known]
    if missing:
        raise DataError(f"no attribute column {', '.join(missing)}; the data have {', '.join(table.columns)}")
    values, paths = table.values[:, [known[domain.name] for domain in domains]], table.paths
    if table.group is not None:
        named = {domain.group for domain in domains if domain.group}
        group = named.pop() if len(named) == 1 else table.group
        domains = tuple(domain.model_copy(update={"group": group}) for domain in domains)
        rows = np.flatnonzero(values.any(axis=1))
        values, paths = values[rows], tuple(paths[row] for row in rows)
    values = _by_group(values, domains)
    if not paths:
        raise DataError(*table.problems, f"no pictures of {', '.join(domain.name for domain in domains)}")
    return replace(table, paths=paths, columns=tuple(domain.name for domain in domains), values=values), domains


def _by_group(values: Labels, domains: Sequence[Domain]) -> Labels:
    """Labels n x c where a group with a known member has its others off, and one without is unknown as a whole."""
    settled = values.copy()
    for group in {domain.group for domain in domains} - {None}:
        columns = [column for column, domain in enumerate(domains) if domain.group == group]
        members = values[:, columns]
        gaps, has = members == UNKNOWN, (members == 1).any(axis=1, keepdims=True)
        unknown = gaps.any(axis=1, keepdims=True) & ~has
        settled[:, columns] = np.where(unknown, UNKNOWN, np.where(gaps, 0, members))
    return settled


def own_domains(table: Table) -> tuple[Domain, ...]:
    """The domains that the set itself wants, every column where it does not say."""
    return parse_domains(table.domains or ",".join(table.columns))


def repeated(labels: Labels, least: float) -> list[int]:
    """The rows of labels n x c, some several times, so that each label, there or not, is in about the share `least`.

    A row comes as often as its rarest label wants, as in Gupta et al., LVIS (CVPR 2019), section 5, but without the
    root; what is left of a whole number is drawn, the same every time. With 0 every row comes once.
    """
    factors = np.ones(len(labels))
    for value in (0, 1):
        has = labels == value
        wanted = least / np.maximum(has.mean(axis=0), 1 / len(labels))
        factors = np.maximum(factors, (has * wanted).max(axis=1))
    copies = np.floor(factors + np.random.default_rng(0).random(len(labels))).astype(int)
    rows: list[int] = np.repeat(np.arange(len(labels)), copies).tolist()
    return rows


def described(folder: Path, domains: tuple[Domain, ...], picture: Picture, labels: Labels) -> Description:
    """What is known of a labelled set of pictures with the labels n x c."""
    names = [domain.name for domain in domains]
    unknown = dict(zip(names, (labels == UNKNOWN).sum(axis=0).tolist(), strict=True))
    return Description(
        name=folder.resolve().name,
        domains=domains,
        picture=picture,
        count=len(labels),
        counts=dict(zip(names, (labels == 1).sum(axis=0).tolist(), strict=True)),
        unknown={name: count for name, count in unknown.items() if count},
    )


def constant(labels: Labels, domains: Sequence[Domain]) -> list[str]:
    """The problem that some domains are the same in all pictures where they are known; none where they are not."""
    same = [domain.name for domain, column in zip(domains, labels.T, strict=True) if not {0, 1} <= set(column.tolist())]
    return [f"the same in every training picture, so it can't be learned: {', '.join(same)}"] if same else []


def parse_domains(text: str) -> tuple[Domain, ...]:
    """Domains in label order from `hair=black|blond|brown,smiling`: `|` parts what excludes each other."""
    domains: list[Domain] = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        group, _, members = item.rpartition("=")
        names = [member.strip() for member in members.split("|")]
        if len(names) > 1 and not group:
            group = "-or-".join(canonical(name) for name in names)
        for name in names:
            domains.append(domain(name, canonical(group) if len(names) > 1 else None, len(domains)))
    if len({domain.name for domain in domains}) != len(domains) or not domains:
        raise DataError(f"domains must be named, each once: {text!r}")
    return tuple(domains)


def domain(name: str, group: str | None = None, column: int | None = None) -> Domain:
    """A domain of that name, made canonical; DataError where it can't be one."""
    try:
        return Domain(name=canonical(name), group=group, column=column)
    except ValidationError as error:
        raise DataError(
            f"{name!r} of group {group!r} is no domain: names have 1 to 64 letters a-z, digits, '-', '_' and spaces"
        ) from error
