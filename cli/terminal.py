"""What the command line shows on a terminal: progress bars, and plain lines where there is none."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

out = Console(highlight=False)
errors = Console(stderr=True, highlight=False)
_PLAIN_EVERY_S = 30


def say(text: str) -> None:
    """One line on standard output, as it is: no markup, no wrapping."""
    out.print(text, soft_wrap=True, markup=False)


def complain(text: str) -> None:
    """One line on standard error, as it is."""
    errors.print(text, soft_wrap=True, markup=False)


class Report(Protocol):
    """Says how far a piece of work is."""

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        """`done` of `total` of the work named `what`."""


@contextmanager
def progress() -> Iterator[Report]:
    """A bar with time left for each piece of work on a terminal, a plain line every half minute elsewhere."""
    known: dict[str, Callable[[int, str], None]] = {}
    times = (TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *times)
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as bars:

        def report(what: str, done: int, total: int, note: str = "") -> None:
            if what not in known:
                known[what] = _bar(bars, what, total) if errors.is_terminal else _plain_lines(what, total)
            known[what](done, note)

        yield report


def _bar(bars: Progress, what: str, total: int) -> Callable[[int, str], None]:
    task = bars.add_task(what, total=total, note="")
    return lambda done, note: bars.update(task, completed=done, note=note)


def _plain_lines(what: str, total: int) -> Callable[[int, str], None]:
    started_at = said_at = time.monotonic()

    def advance(done: int, note: str) -> None:
        nonlocal said_at
        now = time.monotonic()
        if done == total or now - said_at >= _PLAIN_EVERY_S:
            said_at = now
            line = f"{what} {done}/{total} after {now - started_at:.0f} s {note}"
            complain(line.rstrip())

    return advance
