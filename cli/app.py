"""The command line: the only module that knows service, worker and models, and wires them together.

Commands import what they need when they run, so that `recast --help` is quick and serving never needs torch.
"""

import asyncio
import json
import logging
import runpy
import sys
from enum import StrEnum
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.table import Table

from cli import imports as import_commands
from cli import serve as serve_commands
from cli import submit as submit_commands
from cli import terminal
from cli.options import Broker, Storage, Stores, given, open_store, takes_wish
from worker.wish import Wish

if TYPE_CHECKING:
    from models.training.loop import Progress as TrainingProgress

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Translate pictures with GANs: serve them, train them, export them.",
)
app.add_typer(import_commands.app, name="import")
for command in (serve_commands.serve, serve_commands.work, submit_commands.submit):
    app.command()(command)


class DataName(StrEnum):
    """The data sets that the project can make by itself."""

    avatars = "avatars"
    expressions = "expressions"
    emoji = "emoji"


class Precision(StrEnum):
    """Arithmetic of exported graphs."""

    fp32 = "fp32"
    fp16 = "fp16"


class Check(StrEnum):
    """What `recast models` can do beside listing."""

    verify = "verify"


@app.command()
@takes_wish
def translate(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Pictures, or folders of pictures.")],
    wish: Wish,
    store: Stores = None,
    out: Annotated[Path, typer.Option(help="A file for one picture, else a folder.")] = Path("translated"),
) -> None:
    """Translate files or folders here and now, without a server."""
    from worker.files import errands, translate_files

    todo = errands(inputs, out)
    with open_store(store) as opened, terminal.progress() as report:
        advance = partial(report, "translating", total=len(todo))
        failures = asyncio.run(translate_files(todo, wish, opened, advance))
    for failure in failures:
        terminal.complain(f"{failure.source}: {failure.reason}")
    terminal.out.print(
        f"{len(todo) - len(failures)} of {len(todo)} pictures are in {out}", soft_wrap=True, markup=False
    )
    if failures:
        raise typer.Exit(1)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="The GAN system: stargan, cyclegan or pix2pix.")],
    data: Annotated[Path, typer.Option(help="The data folder.")],
    out: Annotated[Path, typer.Option(help="The run folder.")],
    config: Annotated[Path | None, typer.Option(help="Options in a TOML file.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="An option, key=value; stronger than the file.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the newest checkpoint of the run.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check options and all files, and write nothing.")] = False,
) -> None:
    """Train a recipe; a run that was stopped goes on with --resume as if it had not been."""
    from models.training.plan import describe
    from models.training.start import begin, prepare

    with terminal.progress() as report:
        prepared = prepare(recipe, data, out, config, set_ or [], resume, dry_run, partial(report, "checking files"))
        if not dry_run:
            trainer = begin(prepared)
            trainer.train(lambda now: report("training", now.step, now.steps, _losses(now)))
    if dry_run:
        for line in describe(prepared):
            terminal.say(line)
    elif trainer.world.leads:
        terminal.say(f"{out} is trained: {trainer.step} steps")


@app.command()
def evaluate(
    subjects: Annotated[list[Path], typer.Argument(metavar="RUN|BUNDLE...", help="Run folders or bundle folders.")],
    data: Annotated[Path, typer.Option(help="The data folder; its training part trains the judge.")],
    out: Annotated[Path | None, typer.Option(help="Where the report goes.", show_default="RUN/evaluation")] = None,
    count: Annotated[int, typer.Option(help="Held-out pictures to measure on, at most.", min=2)] = 1000,
    judges: Annotated[Path | None, typer.Option(help="Where judges are kept.", show_default="OUT/judges")] = None,
    inception: Annotated[Path | None, typer.Option(help="pt_inception-2015-12-05, for the published FID.")] = None,
    lpips: Annotated[
        tuple[Path, Path] | None, typer.Option(help="LPIPS's alex.pth and torchvision's AlexNet.", metavar="FILE FILE")
    ] = None,
) -> None:
    """Measure models on held-out pictures, side by side; writes report.html and metrics.json."""
    from models.evaluation.evaluate import evaluate as measure
    from models.evaluation.instruments import instruments
    from models.evaluation.judge import Training
    from models.evaluation.report import summary, write_report
    from models.evaluation.subject import open_subjects

    opened = open_subjects(subjects)
    folder = out or (subjects[0] / "evaluation" if len(opened) == 1 and opened[0].step else Path("evaluation"))
    with terminal.progress() as report:
        tools = instruments(count, Training(folder=judges or folder / "judges"), report, inception, lpips)
        evaluations = [measure(subject, data, tools) for subject in opened]
    write_report(evaluations, folder)
    for line in summary(evaluations):
        terminal.say(line)
    terminal.say(f"the report is {folder / 'report.html'}")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    to: Annotated[Path, typer.Option(help="STORE/NAME, the bundle to write.")],
    precision: Annotated[Precision, typer.Option(help="Arithmetic of the graphs.")] = Precision.fp32,
    version: Annotated[str, typer.Option(help="The bundle's version.")] = "1",
    title: Annotated[str, typer.Option(help="The bundle's name for people.")] = "",
    licence: Annotated[str, typer.Option(help="SPDX identifier or a sentence.")] = "not stated",
    samples: Annotated[Path | None, typer.Option(help="Pictures for the page.", show_default="from the data")] = None,
    data: Annotated[Path | None, typer.Option(help="Where the data lie now.", show_default="as trained")] = None,
) -> None:
    """Write a bundle, checked against PyTorch before it is written."""
    from models.export.bundle import Facts
    from models.export.bundle import export as write_bundle
    from models.training.run import open_run

    facts = Facts(version, title, licence, samples)
    differences = write_bundle(open_run(run), to, precision.value, facts, data)
    for name, difference in differences.items():
        terminal.out.print(
            f"{name}: {difference:.3g}{' dB' if name.endswith('fp16') else ''}", soft_wrap=True, markup=False
        )
    terminal.say(f"{to} is written")


@app.command()
def models(
    check: Annotated[Check | None, typer.Argument(help="verify: check every hash and run every graph.")] = None,
    store: Stores = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List what a store holds."""
    with open_store(store) as opened:
        snapshot = opened.snapshot()
        refused = {refused.folder: refused.reason for refused in snapshot.refused}
        if check is Check.verify:
            from worker.trial import try_bundle

            refused |= {bundle.ref: reason for bundle in snapshot.bundles if (reason := try_bundle(bundle))}
    rows = [
        {
            "name": bundle.name,
            "version": bundle.version,
            "family": bundle.manifest.family,
            "domains": [domain.name for domain in bundle.manifest.domains],
            "size": bundle.manifest.picture.size,
            "precision": bundle.manifest.precision,
            "licence": bundle.manifest.licence,
        }
        for bundle in snapshot.bundles
        if bundle.ref not in refused
    ]
    if as_json:
        terminal.out.print_json(json.dumps({"models": rows, "refused": refused}))
    else:
        _print_models(rows, refused)
    if check is Check.verify and refused:
        raise typer.Exit(1)


@app.command()
def data(
    name: Annotated[DataName, typer.Argument(help="Which data set to make.")],
    out: Annotated[Path, typer.Option(help="The folder to write; it must be new or empty.")],
    count: Annotated[int, typer.Option(help="Pictures; of drawings, those to train on.")] = 10_000,
    size: Annotated[int, typer.Option(help="Side of the pictures, pixels.")] = 128,
    seed: Annotated[int, typer.Option(help="The same seed gives the same pictures on every machine.")] = 0,
    layout: Annotated[
        str | None, typer.Option(help="Emoji: attributes, hair, pairs or unpaired.", show_default="attributes")
    ] = None,
    font: Annotated[
        Path | None, typer.Option(help="Emoji: the file NotoColorEmoji.ttf.", show_default="installed")
    ] = None,
) -> None:
    """Write a data set that the project makes by itself, in the layout in which such sets are published."""
    from models.drawn import sets

    with terminal.progress() as report:
        sets.write(name.value, out, count, size, seed, layout, font, partial(report, "drawing"))
    terminal.say(f"{name.value} of {size} px are in {out}")


@app.command()
def doctor(store: Stores = None, storage: Storage = None, broker: Broker = None) -> None:
    """Say what works here: ONNX Runtime and its device, training, broker, workers, storage, store and every bundle."""
    from wiring.doctor import Runtime, examine
    from worker.settings import EngineSettings, JobSettings, QueueSettings

    runtime = None
    if find_spec("onnxruntime"):
        from worker.trial import offers, try_bundle

        runtime = Runtime(offers(EngineSettings()), try_bundle)
    queue, jobs = QueueSettings(**given({"broker": broker})), JobSettings(**given({"storage": storage}))
    with open_store(store) as opened:
        findings = examine(opened, runtime, queue, jobs)
    for finding in findings:
        mark = "[green]ok[/]  " if finding.works else "[red]FAIL[/]" if finding.needed else "[yellow]no[/]  "
        terminal.out.print(mark, f"{finding.subject}: {finding.detail}", soft_wrap=True)
    if any(finding.needed and not finding.works for finding in findings):
        raise typer.Exit(1)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def bench(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The benchmark's name; the words after it are its own.")] = "",
) -> None:
    """Run a benchmark of benchmarks/: they lie in the repository, not in the installed package."""
    root = Path(__file__).resolve().parents[1]
    paths = (path.relative_to(root / "benchmarks").with_suffix("") for path in root.glob("benchmarks/**/[!_]*.py"))
    known = sorted(path.as_posix() for path in paths)
    if name not in known:
        raise typer.BadParameter(f"choose one of {', '.join(known) or '(none here)'}", param_hint="NAME")
    sys.argv = [f"recast bench {name}", *context.args]
    sys.path.insert(0, str(root))  # some share modules, whose names begin with an underscore
    runpy.run_path(str(root / "benchmarks" / f"{name}.py"), run_name="__main__")


def main() -> None:
    """Runs the command line; an error of the user's, or a broken file, is one line and exit code 2."""
    logging.captureWarnings(True)  # odd files make decoders warn; one line in the log each, not three on the terminal
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it has a handler and a level of its own
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if not _is_known(error):
            raise
        terminal.complain(f"recast: {_one_line(error)}")
        sys.exit(2)


_EXTRAS = {
    "onnxruntime": "cpu",
    **dict.fromkeys(("celery", "kombu", "redis", "msgpack"), "queue"),
    **dict.fromkeys(("torch", "lightning_fabric", "onnx", "onnxscript"), "train"),
}


def _is_known(error: Exception) -> bool:
    """Whether the message was written for people; anything else is a bug, and shows its trace."""
    from pydantic import ValidationError

    from models.bundle.archive import BundleError
    from models.bundle.store import StoreError
    from models.errors import ModelError
    from worker.errors import EngineError, RecastError

    known = (BundleError, StoreError, ModelError, EngineError, RecastError, ValidationError, OSError)
    return isinstance(error, known) or _lacks_extra(error)


def _lacks_extra(error: Exception) -> bool:
    return isinstance(error, ModuleNotFoundError) and error.name in _EXTRAS


def _one_line(error: Exception) -> str:
    from pydantic import ValidationError

    if _lacks_extra(error):
        extra = _EXTRAS[cast(ModuleNotFoundError, error).name or ""]
        return f"{error}; it comes with the extra `{extra}`: pip install 'recast[{extra}]'"
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc']))}={e['input']!r}: {e['msg']}" for e in error.errors())
    return " ".join(str(error).split())


def _print_models(rows: list[dict[str, Any]], refused: dict[str, str]) -> None:
    table = Table("model", "family", "size", "precision", "domains", "licence", box=None)
    for row in rows:
        domains = ", ".join(row["domains"])
        table.add_row(
            f"{row['name']}@{row['version']}",
            row["family"],
            f"{row['size']} px",
            row["precision"],
            domains,
            row["licence"],
        )
    terminal.out.print(table if rows else "the store holds no bundle")
    for name, reason in refused.items():
        terminal.complain(f"refused {name}: {reason}")


def _losses(progress: "TrainingProgress") -> str:
    terms = " ".join(f"{name}={value:.3g}" for name, value in progress.losses.items())
    return f"{progress.pictures_per_second:.1f} pictures/s {terms}"
