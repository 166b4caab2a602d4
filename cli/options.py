"""Options that several commands share, and what is made of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from models.bundle.store import Store

Stores = Annotated[
    list[Path] | None,
    typer.Option(
        "--store", help="A folder of bundles; may be repeated. The shipped bundles come last.", show_default=False
    ),
]

Storage = Annotated[
    str | None,
    typer.Option(help="Where jobs are kept: a folder, or a URL such as s3://bucket/folder.", show_default="storage"),
]

Broker = Annotated[
    str | None,
    typer.Option(help="redis://HOST:PORT/DB, where service and workers meet.", show_default="none: all in one process"),
]

Device = Annotated[str | None, typer.Option(help="cuda:0, cpu or auto.", show_default="auto")]

Threads = Annotated[
    int | None, typer.Option(help="CPU threads of one inference, and of decoding; 0: every core.", show_default="0")
]

MaxBatch = Annotated[int | None, typer.Option(help="Pictures in one inference, at most.", show_default="16")]


def given(options: Mapping[str, str | float | None]) -> Any:
    """The options that were given on the command line; for the others the settings decide."""
    return {name: value for name, value in options.items() if value is not None}


def open_store(folders: list[Path] | None) -> "Store":
    """The folders that were named, then the shipped bundles."""
    import models as package
    from models.bundle.store import Store

    shipped = Path(package.__file__).parent / "pretrained"
    return Store([*(folders or []), shipped])
