"""Looks at every file of a set before any time is spent, so that all that is wrong is said at once."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from models.data.pictures import Pictures
from models.errors import DataError

Notify = Callable[[int, int], object]
"""Told how many files of how many are done."""

_NAMED = 5
_BLOCK = 256  # files under way: an interrupt waits for no more


def broken(pictures: Pictures, decode: bool, notify: Notify = lambda done, total: None) -> list[str]:
    """What is wrong with the files, a sentence each.

    Without `decode` only their headers are read, which finds what is missing, empty or no picture, but not what is cut
    short. With it the pictures that are kept are ready afterwards, so that a training need not decode them.
    """
    look = partial(_problem, pictures, decode)
    problems: list[str] = []
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="check") as pool:
        for start in range(0, len(pictures), _BLOCK):
            block = range(start, min(start + _BLOCK, len(pictures)))
            for done, problem in enumerate(pool.map(look, block), start + 1):
                problems += [problem] if problem else []
                notify(done, len(pictures))
    return problems


def refuse(problems: Sequence[str], pictures: Pictures) -> None:
    """DataError when there are problems, with those of the files as well; the files are looked at only then."""
    if problems:
        raise DataError(*problems, *broken(pictures, decode=False))


def named(what: str, names: Sequence[object]) -> list[str]:
    """The one problem that some pictures have, "7 pictures WHAT: a, b, ..."; no problem where there are none."""
    if not names:
        return []
    listed = ", ".join(str(name) for name in names[:_NAMED])
    return [f"{len(names)} picture{'s' * (len(names) > 1)} {what}: {listed}{', ...' if len(names) > _NAMED else ''}"]


def _problem(pictures: Pictures, decode: bool, index: int) -> str:
    try:
        if decode:
            pictures[index]
        else:
            pictures.probe(index)
    except DataError as error:
        return str(error)
    return ""
