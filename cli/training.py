"""`recast train`, `evaluate` and `export`: the commands around a training."""

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import terminal

if TYPE_CHECKING:
    from models.training.loop import Progress as TrainingProgress


class Precision(StrEnum):
    """Arithmetic of exported graphs."""

    fp32 = "fp32"
    fp16 = "fp16"


def train(
    recipe: Annotated[str, typer.Argument(help="The GAN system, such as stargan; docs/recipes has a page for each.")],
    data: Annotated[Path, typer.Option(help="The data folder.")],
    out: Annotated[Path, typer.Option(help="The run folder.")],
    config: Annotated[Path | None, typer.Option(help="Options in a TOML file.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="An option, key=value; stronger than the file.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the newest checkpoint of the run.")] = False,
    from_step: Annotated[
        int | None, typer.Option(help="With --resume: go on from the checkpoint of this step.", show_default="newest")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check options and all files, and write nothing.")] = False,
) -> None:
    """Train a recipe; with --resume, a stopped run goes on as if it had not been stopped."""
    from models.training.start import begin, describe, prepare

    with terminal.progress() as report:

        def show(progress: "TrainingProgress") -> None:
            terms = " ".join(f"{name}={value:.3g}" for name, value in progress.losses.items())
            report("training", progress.step, progress.steps, f"{progress.pictures_per_second:.1f} pictures/s {terms}")

        checking = partial(report, "checking files")
        prepared = prepare(recipe, data, out, config, set_ or [], resume, dry_run, checking, from_step)
        if not dry_run:
            trainer = begin(prepared)
            trainer.train(show)
    if dry_run:
        for line in describe(prepared):
            terminal.say(line)
    elif trainer.world.leads:
        terminal.say(f"{out} is trained: {trainer.step} steps")


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
    """Measure models on held-out pictures, side by side, and write report.html and metrics.json."""
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


def export(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    to: Annotated[Path, typer.Option(help="STORE/NAME, the bundle to write.")],
    precision: Annotated[Precision, typer.Option(help="Arithmetic of the graphs.")] = Precision.fp32,
    version: Annotated[str, typer.Option(help="The bundle's version.")] = "1",
    title: Annotated[str, typer.Option(help="The bundle's name for people.")] = "",
    licence: Annotated[str, typer.Option(help="SPDX identifier or a sentence.")] = "not stated",
    samples: Annotated[Path | None, typer.Option(help="Pictures for the page.", show_default="from the data")] = None,
    data: Annotated[
        Path | None, typer.Option(help="The data folder, if it has moved.", show_default="as trained")
    ] = None,
) -> None:
    """Write a bundle from a run; its graphs are compared with PyTorch first."""
    from models.export.bundle import Facts
    from models.export.bundle import export as write_bundle
    from models.training.run import open_run

    facts = Facts(version, title, licence, samples)
    differences = write_bundle(open_run(run), to, precision.value, facts, data)
    for name, difference in differences.items():
        terminal.say(f"{name}: {difference:.3g}{' dB' if name.endswith('fp16') else ''}")
    terminal.say(f"{to} is written")


def _show_losses(report: terminal.Report, progress: "TrainingProgress") -> None:
    terms = " ".join(f"{name}={value:.3g}" for name, value in progress.losses.items())
    report("training", progress.step, progress.steps, f"{progress.pictures_per_second:.1f} pictures/s {terms}")
