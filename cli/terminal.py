"""Lines and progress for the user: bars on a terminal, plain lines elsewhere, as in a log file."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

out = Console(highlight=False)
errors = Console(stderr=True, highlight=False)
_PLAIN_EVERY_S = 30


def say(text: str) -> None:
    """Prints one line on standard output as it is, without markup or wrapping."""
    out.print(text, soft_wrap=True, markup=False)


def complain(text: str) -> None:
    """Prints one line on standard error as it is."""
    errors.print(text, soft_wrap=True, markup=False)


class Report(Protocol):
    """Shows the progress of a piece of work."""

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        """Shows that `done` of `total` of the work named `what` is done."""


@contextmanager
def progress() -> Iterator[Report]:
    """A bar with time left for each piece of work on a terminal, a plain line every half minute elsewhere."""
    tasks: dict[str, TaskID] = {}
    lines: dict[str, Callable[[int, str], None]] = {}
    times = (TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *times)
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as bars:

        def report(what: str, done: int, total: int, note: str = "") -> None:
            if not errors.is_terminal:
                lines.setdefault(what, _plain_lines(what, total))(done, note)
                return
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, note=note)
            bars.update(tasks[what], completed=done, note=note)

        yield report


def _plain_lines(what: str, total: int) -> Callable[[int, str], None]:
    # One line every half minute: a log of a long training stays readable.
    started_at = said_at = time.monotonic()

    def advance(done: int, note: str) -> None:
        nonlocal said_at
        now = time.monotonic()
        if done == total or now - said_at >= _PLAIN_EVERY_S:
            said_at = now
            line = f"{what} {done}/{total} after {now - started_at:.0f} s {note}"
            complain(line.rstrip())

    return advance
