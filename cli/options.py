"""Options that several commands share, and how they become settings, a Wish and a store."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from worker.errors import InvalidParameter
from worker.wish import Wish, explain

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


def without_none(options: Mapping[str, str | float | None]) -> Any:
    """Only the options that the user gave, so that the environment decides the others."""
    return {name: value for name, value in options.items() if value is not None}


def takes_wish(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for each field of Wish in place of its parameter `wish`.

    If that parameter has the default None, no option is required, and without `--domains` the wish is None.
    Raises InvalidParameter for values that Wish refuses.
    """
    signature = inspect.signature(command)
    replaced = signature.parameters["wish"]
    optional = replaced.default is None
    options = [_option(name, field, optional) for name, field in Wish.model_fields.items()]

    @wraps(command)
    def run(**given: Any) -> None:
        asked = {name: value for name in Wish.model_fields if (value := given.pop(name)) not in (None, [])}
        try:
            wish = None if optional and "domains" not in asked else Wish.model_validate(asked)
        except ValidationError as error:
            raise InvalidParameter(explain(error.errors()[0])) from None
        command(**given, wish=wish)

    own = list(signature.parameters.values())
    place = own.index(replaced)
    every = (*own[:place], *options, *own[place + 1 :])
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in every]
    # Typer reads both: names and defaults from the signature, types from the annotations.
    described: Any = run
    described.__signature__ = signature.replace(parameters=parameters)
    described.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _option(name: str, field: FieldInfo, optional: bool) -> inspect.Parameter:
    annotation = field.annotation
    literals = (part for part in (annotation, *get_args(annotation)) if get_origin(part) is Literal)
    choices = [choice for literal in literals for choice in get_args(literal)]
    kind: Any = str | None
    if get_origin(annotation) is tuple:
        kind = list[str]
    elif annotation in (bool, int, float):
        kind = annotation
    # Typer reports a wrong choice in a box of several lines. So it only shows the choices, and Wish checks them.
    option = typer.Option(f"--{name}", help=field.description, metavar="|".join(choices) or None)
    default: Any = inspect.Parameter.empty
    if not field.is_required():
        default = field.default
    elif optional:
        default, kind = None, kind | None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def open_store(folders: list[Path] | None) -> "Store":
    """A store of the named folders, then of the shipped bundles."""
    import models as package
    from models.bundle.store import Store

    shipped = Path(package.__file__).parent / "pretrained"
    return Store([*(folders or []), shipped])
