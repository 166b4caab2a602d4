"""`recast translate`: pictures in, pictures out, without a server."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from cli import terminal
from cli.options import Stores, open_store


def translate(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Pictures, or folders of pictures.")],
    domains: Annotated[str, typer.Option(help="What to ask for: blond,-smiling,hat:0.5 or * for a contact sheet.")],
    model: Annotated[str | None, typer.Option(help="NAME or NAME@VERSION.", show_default="chosen")] = None,
    store: Stores = None,
    strength: Annotated[float, typer.Option(help="Multiplies every strength, 0 to 2.")] = 1.0,
    region: Annotated[str, typer.Option(help="auto, whole or face.")] = "auto",
    size: Annotated[str, typer.Option(help="original or model.")] = "original",
    format_: Annotated[
        str | None, typer.Option("--format", help="jpeg, png, webp, avif.", show_default="as the input")
    ] = None,
    quality: Annotated[int, typer.Option(help="1 to 100, lossy formats.")] = 90,
    out: Annotated[Path, typer.Option(help="A file for one picture, else a folder.")] = Path("translated"),
) -> None:
    """Translate files or folders here and now, without a server."""
    from wiring.translate import gather, output_format
    from wiring.translate import translate as translate_files
    from worker.pipeline import Request

    form = output_format(format_)
    request = Request((domains,), model, strength, cast(Any, region), cast(Any, size), form, quality)
    todo = gather(inputs, out, request)
    with open_store(store) as opened, terminal.progress() as report:
        advance = partial(report, "translating", total=len(todo))
        failures = asyncio.run(translate_files(todo, request, opened, advance))
    for source, reason in failures.items():
        terminal.complain(f"{source}: {reason}")
    terminal.say(f"{len(todo) - len(failures)} of {len(todo)} pictures are in {out}")
    if failures:
        raise typer.Exit(1)
