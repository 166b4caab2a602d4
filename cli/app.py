"""The command line: `recast`, its commands by name, and how it reports errors.

Commands import what they need when they run, so that `recast --help` is quick and serving never loads torch.
"""

import logging
import runpy
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from cli import data, imports, serve, submit, terminal, training, translate

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(imports.app, name="import")
app.add_typer(data.app, name="data")
for command in (
    serve.serve,
    serve.work,
    submit.submit,
    translate.translate,
    training.train,
    training.evaluate,
    training.export,
    serve.models,
    serve.doctor,
):
    app.command()(command)

# Modules that a small installation lacks, with the extra that installs them.
_EXTRAS = {
    "onnxruntime": "cpu",
    **dict.fromkeys(("celery", "kombu", "redis", "msgpack"), "queue"),
    **dict.fromkeys(("torch", "onnx", "onnxscript"), "train"),
}


def _print_version(wanted: bool) -> None:
    if wanted:
        terminal.say(version("recast"))
        raise typer.Exit


@app.callback()
def recast(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Translate pictures with GANs: serve them, train them, export them."""


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def bench(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The benchmark's name; the words after it are its own.")] = "",
) -> None:
    """Run a benchmark of benchmarks/, which is in the repository and not in the installed package."""
    root = Path(__file__).resolve().parents[1]
    paths = (path.relative_to(root / "benchmarks").with_suffix("") for path in root.glob("benchmarks/**/[!_]*.py"))
    known = sorted(path.as_posix() for path in paths)
    if name not in known:
        raise typer.BadParameter(f"choose one of {', '.join(known) or '(none here)'}", param_hint="NAME")
    sys.argv = [f"recast bench {name}", *context.args]
    sys.path.insert(0, str(root))  # benchmarks share modules whose names begin with an underscore
    runpy.run_path(str(root / "benchmarks" / f"{name}.py"), run_name="__main__")


def main() -> None:
    """Runs the command line. A user's mistake or a broken file gives one line and exit code 2; a bug, its traceback."""
    logging.captureWarnings(True)  # decoders warn about odd files: one line each in the log, not three on the terminal
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)  # 128 + SIGINT, as shells count it
    except Exception as error:
        message = _message(error)
        if message is None:
            raise
        terminal.complain(f"recast: {message}")
        sys.exit(2)


def _message(error: Exception) -> str | None:
    """The error in one line if its text was written for users; None for any other."""
    from pydantic import ValidationError

    from models.bundle.archive import BundleError
    from models.bundle.store import StoreError
    from models.errors import ModelError
    from worker.errors import EngineError, RecastError

    if isinstance(error, ModuleNotFoundError) and error.name in _EXTRAS:
        extra = _EXTRAS[error.name]
        return f"{error}; it comes with the extra `{extra}`: pip install 'recast[{extra}]'"
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc']))}={e['input']!r}: {e['msg']}" for e in error.errors())
    if isinstance(error, BundleError | StoreError | ModelError | EngineError | RecastError | OSError):
        return " ".join(str(error).split())
    return None
