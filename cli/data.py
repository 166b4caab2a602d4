"""`recast data`: sets that the project draws by itself, and faces cut out of anybody's photographs."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cli import terminal
from cli.options import Stores, open_store

app = typer.Typer(no_args_is_help=True, help="Write a data set, in the layout in which such sets are published.")

Out = Annotated[Path, typer.Option(help="The folder to write; it must be new or empty.")]
Count = Annotated[int, typer.Option(help="Pictures; of drawings, those to train on.")]
Size = Annotated[int, typer.Option(help="Side of the pictures, pixels.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same pictures on every machine.")]


@app.command()
def avatars(out: Out, count: Count = 10_000, size: Size = 128, seed: Seed = 0) -> None:
    """Drawn people, labelled, of whom every attribute can be changed alone."""
    _draw("avatars", out, count, size, seed)


@app.command()
def expressions(out: Out, count: Count = 10_000, size: Size = 128, seed: Seed = 0) -> None:
    """Drawn people with eight expressions, a folder each."""
    _draw("expressions", out, count, size, seed)


@app.command()
def emoji(
    out: Out,
    count: Count = 10_000,
    size: Size = 128,
    seed: Seed = 0,
    layout: Annotated[
        str | None, typer.Option(help="attributes, hair, pairs or unpaired.", show_default="attributes")
    ] = None,
    font: Annotated[Path | None, typer.Option(help="The file NotoColorEmoji.ttf.", show_default="installed")] = None,
) -> None:
    """Emoji of people, labelled, or emoji and line drawings, as pairs or not."""
    _draw("emoji", out, count, size, seed, layout, font)


@app.command()
def align(
    folder: Annotated[Path, typer.Argument(help="Photographs of people; sub-folders, such as domains, stay.")],
    out: Out,
    size: Annotated[int, typer.Option(help="Side of the pictures, pixels.", min=16)] = 256,
    store: Stores = None,
) -> None:
    """Faces cut out of photographs, upright, eyes where networks expect them; and a list of what was left out."""
    from models.bundle.manifest import Picture
    from wiring import align as aligning

    with open_store(store) as opened, terminal.progress() as report:
        advance = partial(report, "aligning")
        picture = Picture(size=size, crop="face")
        written, left_out = asyncio.run(aligning.align(folder, out, picture, opened, advance))
    terminal.say(f"{written} faces are in {out}")
    if left_out:
        terminal.say(f"of {len(left_out)} photographs faces were left out: {out / aligning.LEFT_OUT} says why")


def _draw(
    name: str, out: Path, count: int, size: int, seed: int, layout: str | None = None, font: Path | None = None
) -> None:
    from models.drawn import sets

    with terminal.progress() as report:
        sets.write(name, out, count, size, seed, layout, font, partial(report, "drawing"))
    terminal.say(f"{name} of {size} px are in {out}")
