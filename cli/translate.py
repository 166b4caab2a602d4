"""`recast translate`: pictures in, pictures out, without a server."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cli import terminal
from cli.options import Stores, open_store, takes_wish
from worker.wish import Wish


@takes_wish
def translate(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Pictures, or folders of pictures.")],
    wish: Wish,
    store: Stores = None,
    out: Annotated[Path, typer.Option(help="The folder for the results, or a file for one picture.")] = Path(
        "translated"
    ),
) -> None:
    """Translate files or folders without a server."""
    from wiring.translate import gather
    from wiring.translate import translate as translate_files

    todo = gather(inputs, out, wish)
    with open_store(store) as opened, terminal.progress() as report:
        advance = partial(report, "translating", total=len(todo))
        failures = asyncio.run(translate_files(todo, wish, opened, advance))
    for source, reason in failures.items():
        terminal.complain(f"{source}: {reason}")
    terminal.say(f"{len(todo) - len(failures)} of {len(todo)} pictures are in {out}")
    if failures:
        raise typer.Exit(1)
