"""Several labelled sets learned together: FOLDER/SET/..., each in CelebA's layout or with a folder for each domain.

The label columns are those of all sets side by side; what a picture's own set does not know is `UNKNOWN`, and a
mask says which set that is, as StarGAN's paper has it (section 3.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.bundle.manifest import Domain, Picture, canonical
from models.data import layouts
from models.data.check import refuse
from models.data.labels import (
    UNKNOWN,
    Labelled,
    Labels,
    Table,
    choose,
    constant,
    described,
    domain,
    own_domains,
    parse_domains,
    repeated,
)
from models.data.parts import Part
from models.data.pictures import Pictures
from models.errors import DataError


@dataclass(frozen=True)
class _Set:
    """One of the sets: its mask's name, and what is read of it."""

    mask: str
    table: Table
    domains: tuple[Domain, ...]


def fits(folder: Path) -> bool:
    """Whether a folder holds several labelled sets, and is none itself."""
    return not any(folder.glob("list_attr*.txt")) and len(layouts.sets(folder)) > 1


def read(folder: Path, domains: str, picture: Picture, part: Part, flip: bool, balance: float) -> Labelled:
    """Reads one part of all sets; `domains` as in `parse_domains`, empty for what each set wants.

    Domains have the name of their set as mask. DataError when two sets share a domain, or one has none.
    """
    sets = _chosen({domain(path.name).name: layouts.table(path, part) for path in layouts.sets(folder)}, domains)
    labels, masks = _side_by_side(sets)
    united = _united(sets)
    problems = [problem for one in sets for problem in one.table.problems]
    if part == "train":
        problems += [problem for one in sets for problem in constant(one.table.values, one.domains)]
    pictures = Pictures([path for one in sets for path in one.table.paths], picture)
    refuse(problems, pictures)
    description = described(folder, united, picture, labels)
    alone = [described(folder, one.domains, picture, one.table.values) for one in sets]
    masked = description.model_copy(
        update={
            "masks": tuple(one.mask for one in sets),
            "counts": {**{f"{one.mask}/": len(one.table.paths) for one in sets}, **description.counts},
            "unknown": {name: count for one in alone for name, count in one.unknown.items()},
        }
    )
    train = part == "train"
    rows = [
        np.flatnonzero(of_set)[repeated(one.table.values, balance if train else 0)]
        for of_set, one in zip(masks.T, sets, strict=True)
    ]
    return Labelled(pictures, labels, masked, flip and train, masks, _in_turn(rows, train))


def _in_turn(rows: Sequence[NDArray[np.int64]], evenly: bool) -> list[int]:
    """The rows of each set in turn; `evenly` goes through small sets again until the largest is done."""
    largest = max(map(len, rows))
    turns = np.stack([np.resize(own, largest) for own in rows], axis=1).ravel().tolist()
    return turns if evenly else list(dict.fromkeys(turns))


def _chosen(tables: dict[str, Table], domains: str) -> list[_Set]:
    wanted = parse_domains(domains) if domains else None
    known = {mask: {canonical(column) for column in table.columns} for mask, table in tables.items()}
    if wanted:
        missing = [domain.name for domain in wanted if not any(domain.name in columns for columns in known.values())]
        if missing:
            raise DataError(f"no set has the domain {', '.join(missing)}; {_listed(known)}")
    sets: list[_Set] = []
    for mask, table in tables.items():
        own = own_domains(table) if wanted is None else tuple(d for d in wanted if d.name in known[mask])
        if not own:
            raise DataError(f"no domain of {mask} is asked for; name one, or take the set away: {_listed(known)}")
        sets.append(_Set(mask, *choose(table, own)))
    return sets


def _listed(known: dict[str, set[str]]) -> str:
    return "; ".join(f"{mask} has {', '.join(sorted(columns))}" for mask, columns in known.items())


def _side_by_side(sets: list[_Set]) -> tuple[Labels, Labels]:
    """Labels n x c of all sets' columns, and masks n x m."""
    blocks = [[np.full((len(row.table.paths), len(one.domains)), UNKNOWN, np.float32) for one in sets] for row in sets]
    for place, one in enumerate(sets):
        blocks[place][place] = one.table.values
    masks = np.repeat(np.eye(len(sets), dtype=np.float32), [len(one.table.paths) for one in sets], axis=0)
    labels: Labels = np.block(blocks).astype(np.float32)
    return labels, masks


def _united(sets: list[_Set]) -> tuple[Domain, ...]:
    """The domains of all sets, numbered on; a group's name tells its set where two sets have one of that name."""
    groups = [{domain.group for domain in one.domains} for one in sets]
    united: list[Domain] = []
    for one in sets:
        for known in one.domains:
            if known.name in {former.name for former in united}:
                raise DataError(f"two sets have the domain {known.name}; choose others, or rename it in {one.mask}")
            shared = known.group and sum(known.group in names for names in groups) > 1
            group = f"{one.mask}-{known.group}" if shared else known.group
            united.append(known.model_copy(update={"group": group, "mask": one.mask, "column": len(united)}))
    return tuple(united)
