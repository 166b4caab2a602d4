"""Tables of labels for the pictures of a set, and the domains chosen among their columns.

A label is 1.0, 0.0 or `UNKNOWN`, never -1. In a group, a known 1 makes all other labels known: a picture with black
hair does not have blond hair.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from models.bundle.manifest import Domain, canonical
from models.errors import DataError

Labels = NDArray[np.float32]

UNKNOWN = 0.5
"""The label of a picture without annotation. It is finite, since 0 times NaN would survive a mask."""


@dataclass(frozen=True)
class Table:
    """One part of a labelled set: n files, the names of c columns, and values n x c in {0, 1, UNKNOWN}."""

    paths: tuple[Path, ...]
    columns: tuple[str, ...]
    values: Labels
    domains: str = ""
    """The set's own choice of domains, as `parse_domains` reads it; empty for every column."""
    group: str | None = None
    """If set, each picture has exactly one column, and pictures of columns that are not chosen are left out."""
    problems: tuple[str, ...] = ()
    """Problems of its files and lines, a sentence each."""


def choose(table: Table, domains: tuple[Domain, ...]) -> tuple[Table, tuple[Domain, ...]]:
    """The table with only the columns of the domains, in their order, and the domains with the table's group.

    DataError for a domain without a column, and if no picture is left.
    """
    known = {canonical(column): index for index, column in enumerate(table.columns)}
    missing = [domain.name for domain in domains if domain.name not in known]
    if missing:
        raise DataError(f"no attribute column {', '.join(missing)}; the data have {', '.join(table.columns)}")
    values, paths = table.values[:, [known[domain.name] for domain in domains]], table.paths
    if table.group is not None:
        groups = {domain.group for domain in domains if domain.group}
        only = groups.pop() if len(groups) == 1 else table.group
        domains = tuple(domain.model_copy(update={"group": only}) for domain in domains)
        # A picture of no chosen folder would have no label at all.
        rows = np.flatnonzero(values.any(axis=1))
        values, paths = values[rows], tuple(paths[row] for row in rows)
    for group in {domain.group for domain in domains} - {None}:
        columns = [column for column, domain in enumerate(domains) if domain.group == group]
        members = values[:, columns]
        gaps, has = members == UNKNOWN, (members == 1).any(axis=1, keepdims=True)
        # A known member switches the others off. Without one, a single gap makes the whole group unknown.
        unknown = gaps.any(axis=1, keepdims=True) & ~has
        values[:, columns] = np.where(unknown, UNKNOWN, np.where(gaps, 0, members))
    if not paths:
        raise DataError(*table.problems, f"no pictures of {', '.join(domain.name for domain in domains)}")
    return replace(table, paths=paths, columns=tuple(domain.name for domain in domains), values=values), domains


def own_domains(table: Table) -> tuple[Domain, ...]:
    """The set's own choice of domains, or every column."""
    return parse_domains(table.domains or ",".join(table.columns))


def repeat_rows(labels: Labels, least: float) -> list[int]:
    """Rows of labels n x c, some repeated, so that each label's presence and absence has a share of at least `least`.

    The rarest label of a row decides how often it is repeated, as in Gupta et al., LVIS (CVPR 2019), section 5, but
    without the square root. Fractions are rounded at random with a fixed seed. With `least` 0 every row comes once.
    """
    factors = np.ones(len(labels))
    for value in (0, 1):
        has = labels == value
        wanted = least / np.maximum(has.mean(axis=0), 1 / len(labels))
        factors = np.maximum(factors, (has * wanted).max(axis=1))
    # Adding a uniform number before rounding down makes the expected number of copies exact.
    copies = np.floor(factors + np.random.default_rng(0).random(len(labels))).astype(int)
    rows: list[int] = np.repeat(np.arange(len(labels)), copies).tolist()
    return rows


def find_constant(labels: Labels, domains: Sequence[Domain]) -> list[str]:
    """The problem that some domains have the same known label in all pictures; empty if all vary."""
    same = [domain.name for domain, column in zip(domains, labels.T, strict=True) if not {0, 1} <= set(column.tolist())]
    return [f"the same in every training picture, so it can't be learned: {', '.join(same)}"] if same else []


def parse_domains(text: str) -> tuple[Domain, ...]:
    """Domains in label order from `hair=black|blond|brown,smiling`; `|` separates domains that exclude each other.

    DataError for an invalid or repeated name, and without any name.
    """
    domains: list[Domain] = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        group, _, members = item.rpartition("=")
        names = [member.strip() for member in members.split("|")]
        if len(names) > 1 and not group:
            group = "-or-".join(canonical(name) for name in names)
        for name in names:
            domains.append(domain(name, canonical(group) if len(names) > 1 else None, len(domains)))
    if len({domain.name for domain in domains}) != len(domains) or not domains:
        raise DataError(f"name at least one domain, and each only once: {text!r}")
    return tuple(domains)


def domain(name: str, group: str | None = None, column: int | None = None) -> Domain:
    """The domain with this name in canonical form; DataError for an invalid name."""
    try:
        return Domain(name=canonical(name), group=group, column=column)
    except ValidationError as error:
        raise DataError(
            f"{name!r} of group {group!r} is not a domain: names have 1 to 64 letters a-z, digits, '-', '_' and spaces"
        ) from error
