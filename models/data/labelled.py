"""Labelled pictures: one set in any layout of `layouts`, or several sets learned together (a joint set).

A joint set is FOLDER/SET/..., each set in a layout of its own. Its label columns are those of all sets side by side.
Labels that a picture's own set does not annotate are `UNKNOWN`, and a mask names that set (StarGAN, section 3.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.bundle.manifest import Domain, Picture, canonical
from models.data import layouts
from models.data.data import Description, Example
from models.data.parts import Part
from models.data.pictures import Pictures, augment, refuse
from models.data.tables import (
    UNKNOWN,
    Labels,
    Table,
    choose,
    domain,
    find_constant,
    own_domains,
    parse_domains,
    repeat_rows,
)
from models.errors import DataError


class Labelled:
    """Pictures with labels n x c; in a joint set also masks n x m, one-hot, of the set that each picture is from."""

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
        """The picture of each example; pictures of rare labels and of small sets may come several times."""

    def __len__(self) -> int:
        """Examples in the set."""
        return len(self.order)

    def example(self, index: int, random: np.random.Generator) -> Example:
        """{"pixels": size x size x 3, "labels": c}, and "masks": m in joint sets; flipped half of the time."""
        row = self.order[index]
        (pixels,) = augment([self.pictures[row]], self.description.picture.size, self.flip, random)
        example: Example = {"pixels": pixels, "labels": self.labels[row]}
        return example if self.masks is None else {**example, "masks": self.masks[row]}


def read(folder: Path, domains: str, picture: Picture, part: Part, flip: bool, balance: float = 0.0) -> Labelled:
    """Reads one part of a set; `domains` as in `parse_domains`, empty for the set's own choice.

    In training, `balance` is the least share of examples with and without each label, as in `repeat_rows`. In a joint
    set each domain has the name of its set as mask. DataError with all problems. Files are opened only if there are
    other problems; else call `pictures.find_broken`.
    """
    if not folder.is_dir():
        raise DataError(f"there is no data folder {folder}")
    if not layouts.is_celeba(folder) and len(layouts.sets(folder)) > 1:
        return _read_joint(folder, domains, picture, part, flip, balance)
    table = layouts.read_table(folder, part)
    table, chosen = choose(table, parse_domains(domains) if domains else own_domains(table))
    pictures = Pictures(table.paths, picture)
    refuse([*table.problems, *(find_constant(table.values, chosen) if part == "train" else [])], pictures)
    description = _describe(folder, chosen, picture, table.values)
    # Only training is balanced: figures on held-out pictures must follow their true frequencies.
    order = repeat_rows(table.values, balance if part == "train" else 0)
    return Labelled(pictures, table.values, description, flip and part == "train", order=order)


@dataclass(frozen=True)
class _Set:
    """One set of a joint one: its mask's name, its table and its domains."""

    mask: str
    table: Table
    domains: tuple[Domain, ...]


def _read_joint(folder: Path, domains: str, picture: Picture, part: Part, flip: bool, balance: float) -> Labelled:
    tables = {domain(path.name).name: layouts.read_table(path, part) for path in layouts.sets(folder)}
    sets = _choose_in_each(tables, domains)
    sizes, train = [len(one.table.paths) for one in sets], part == "train"
    united = _unite(sets)
    problems = [problem for one in sets for problem in one.table.problems]
    if train:
        problems += [problem for one in sets for problem in find_constant(one.table.values, one.domains)]
    pictures = Pictures([path for one in sets for path in one.table.paths], picture)
    refuse(problems, pictures)
    # A block for each set's pictures and columns: the diagonal has the known labels, the rest is unknown.
    blocks = [[np.full((size, len(one.domains)), UNKNOWN, np.float32) for one in sets] for size in sizes]
    for place, one in enumerate(sets):
        blocks[place][place] = one.table.values
    labels: Labels = np.block(blocks).astype(np.float32)
    masks = np.repeat(np.eye(len(sets), dtype=np.float32), sizes, axis=0)
    description = _describe(folder, united, picture, labels)
    # Pictures of the other sets are unknown by construction; only those of a domain's own set are worth reporting.
    alone = [_describe(folder, one.domains, picture, one.table.values) for one in sets]
    joint = description.model_copy(
        update={
            "masks": tuple(one.mask for one in sets),
            "counts": {**{f"{one.mask}/": size for one, size in zip(sets, sizes, strict=True)}, **description.counts},
            "unknown": {name: count for one in alone for name, count in one.unknown.items()},
        }
    )
    # The sets take turns. In training, small sets start again until the largest one ends.
    rows = [
        np.flatnonzero(of_set)[repeat_rows(one.table.values, balance if train else 0)]
        for of_set, one in zip(masks.T, sets, strict=True)
    ]
    largest = max(map(len, rows))
    turns: list[int] = np.stack([np.resize(own, largest) for own in rows], axis=1).ravel().tolist()
    return Labelled(pictures, labels, joint, flip and train, masks, turns if train else list(dict.fromkeys(turns)))


def _choose_in_each(tables: dict[str, Table], domains: str) -> list[_Set]:
    """The domains of each set, by its mask's name; DataError for a domain of no set, and for a set without domains."""
    wanted = parse_domains(domains) if domains else None
    known = {mask: {canonical(column) for column in table.columns} for mask, table in tables.items()}
    listed = "; ".join(f"{mask} has {', '.join(sorted(columns))}" for mask, columns in known.items())
    missing = [one.name for one in wanted or () if not any(one.name in columns for columns in known.values())]
    if missing:
        raise DataError(f"no set has the domain {', '.join(missing)}; {listed}")
    sets: list[_Set] = []
    for mask, table in tables.items():
        own = own_domains(table) if wanted is None else tuple(one for one in wanted if one.name in known[mask])
        if not own:
            raise DataError(f"no domain of {mask} was chosen; choose one, or remove the set: {listed}")
        sets.append(_Set(mask, *choose(table, own)))
    return sets


def _unite(sets: list[_Set]) -> tuple[Domain, ...]:
    """The domains of all sets in one numbering; a group name that two sets have gets the set's name as prefix."""
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


def _describe(folder: Path, domains: tuple[Domain, ...], picture: Picture, labels: Labels) -> Description:
    """The description of a labelled set with the labels n x c."""
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
