"""The work folder of a comparison: a run for each variant with the same settings. Finished work is not repeated.

WORK/settings.txt          the settings of all variants
WORK/data/, judges/        drawn data, and judges trained on them
WORK/runs/NAME/            a run of `recast train`; after a kill it resumes from its newest checkpoint
WORK/table.md, sheet.png   the results, and the first held-out pictures of every variant
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from cli import terminal
from cli.terminal import Report
from models.bundle.manifest import Picture
from models.data import labelled
from models.errors import OptionsError
from models.evaluation.judge import LabelJudge, Training, label_judge
from models.evaluation.metrics import Pixels
from models.evaluation.subject import Subject, open_subject
from models.recipes import RECIPES
from models.training.run import open_run, saved
from models.training.start import resolve, start

_SHOWN = 8


@dataclass(frozen=True)
class Settings:
    """What all variants have in common, and the work folder."""

    work: Path
    size: int
    width: int
    steps: int
    batch: int
    count: int
    judge_steps: int
    seed: int = 0
    precision: str = "32-true"

    @property
    def text(self) -> str:
        """All but the folder, as options of the command line."""
        return " ".join(f"--{_word(field.name)} {getattr(self, field.name)}" for field in fields(self)[1:])

    def claim(self) -> None:
        """Reserves the work folder for these settings; OptionsError when it belongs to others."""
        self.work.mkdir(parents=True, exist_ok=True)
        path = self.work / "settings.txt"
        if path.exists() and path.read_text(encoding="utf-8") != self.text:
            raise OptionsError(
                f"{self.work} belongs to the settings {path.read_text(encoding='utf-8')}; choose another with --work"
            )
        path.write_text(self.text, encoding="utf-8")

    def run(self, name: str) -> Path:
        """The run folder of a variant."""
        return self.work / "runs" / name.replace(" ", "-")

    def words(self, recipe: str) -> list[str]:
        """The options of a run; pictures are not cropped, so that maps keep their colours."""
        critic = "critic_width" if recipe == "stargan" else "discriminator_width"
        words = [f"size={self.size}", f"width={self.width}", f"{critic}={self.width}", f"batch={self.batch}"]
        words += [f"seed={self.seed}", f"precision={self.precision}", "save_every=500", "checkpoints=1", "workers=1"]
        return words if recipe == "stargan" else [*words, f"load_size={self.size}"]


def command(description: str, usual: Settings, compare: Callable[[Settings, Report], list[str]]) -> None:
    """Runs a comparison with the settings of the command line, `usual` by default, and prints its lines."""
    settings = _parse(description, usual)
    with terminal.progress() as report:
        lines = compare(settings, report)
    for line in lines:
        terminal.say(line)


def train(settings: Settings, name: str, recipe: str, data: Path, options: str, report: Report) -> Subject:
    """The variant's model, trained only if it is not yet; `options` are added to those of the settings.

    OptionsError when the run folder has a training with other options, from another version of the benchmark.
    """
    folder = settings.run(name)
    words = [f"steps={settings.steps}", *settings.words(recipe), *options.split()]
    wanted = resolve(RECIPES[recipe].options_type, {}, None, words)
    begun = (folder / "config.json").exists()
    if begun and open_run(folder).options != wanted:
        raise OptionsError(
            f"{folder} has a training with other options; remove it, or choose another folder with --work"
        )
    if f"{wanted.steps:08d}" not in [path.stem for path in saved(folder / "checkpoints")]:
        trainer = start(recipe, data, folder, None, words, begun)
        trainer.train(lambda now: report(name, now.step, now.steps))
    return open_subject(folder)


def judge_of(settings: Settings, data: Path, report: Report) -> tuple[LabelJudge, labelled.Labelled]:
    """A judge of labelled pictures, and their held-out part."""
    picture = Picture(size=settings.size, crop="none")
    training, test = (labelled.read(data, "", picture, part, part == "train") for part in ("train", "test"))
    kept = Training(settings.judge_steps, settings.work / "judges", settings.seed)
    return label_judge(training, training.description.domains, kept, partial(report, "judge")), test


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table's lines."""
    rule = ["---", *["--:"] * (len(head) - 1)]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]


def compare_orders(found: Mapping[str, float], paper: Mapping[str, float]) -> str:
    """A sentence that names the variants in another order than in the paper, by shares of two decimals."""
    rising = combinations(sorted(paper, key=paper.__getitem__), 2)
    other = [f"{a} above {b}" for a, b in rising if paper[a] < paper[b] and round(found[a] - found[b], 2) > 0]
    return f"Other than in the paper: {', '.join(other)}." if other else "The order is the paper's."


def conclude(name: str, settings: Settings, lines: Sequence[str], strips: Sequence[Pixels]) -> list[str]:
    """Writes table.md, and the first pictures of each strip n x s x s x 3 to sheet.png; the lines of the table.

    The first line is the command that makes it.
    """
    whole = [f"`recast bench quality/{name} {settings.text}`", "", *lines]
    (settings.work / "table.md").write_text("\n".join(whole) + "\n", encoding="utf-8")
    sheet = np.vstack([np.hstack(list(strip[:_SHOWN])) for strip in strips])
    Image.fromarray(sheet).save(settings.work / "sheet.png")
    return whole


def _parse(description: str, usual: Settings) -> Settings:
    parser = argparse.ArgumentParser(
        prog="recast bench", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work", type=Path, default=usual.work, help=f"the work folder, which a later run continues ({usual.work})"
    )
    for name, meaning in {
        "size": "side of the pictures, pixels",
        "width": "channels of the first layers of all networks",
        "steps": "steps of each variant",
        "batch": "pictures a step",
        "count": "people drawn; a tenth is held out",
        "judge_steps": "steps of the judge, 32 pictures each",
        "seed": "seed of data, weights and order",
    }.items():
        value = getattr(usual, name)
        parser.add_argument(f"--{_word(name)}", type=int, default=value, help=f"{meaning} ({value})")
    parser.add_argument("--precision", default=usual.precision, help=f"arithmetic ({usual.precision})")
    return Settings(**vars(parser.parse_args()))


def _word(name: str) -> str:
    return name.replace("_", "-")
