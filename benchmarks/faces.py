"""How many faces are found, by tilt, size and skin, and how often something else is taken for one.

Aligned portraits are pasted, tilted, on other pictures; each portrait once at each tilt, at sizes that take turns. A
face is found if its eyes are less than a third of their distance off. Skin is measured: the lightness of the cheeks,
CIELAB L*, in thirds. The other pictures are also searched as they are; a person in one of them counts as an alarm.

    recast bench faces --faces DIR --others DIR [--count N] [--pictures N] [--side S]
"""

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import hypot, radians
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

import models
from models.bundle import archive
from models.bundle.manifest import Picture
from models.bundle.pixels import Square, upright
from worker.engine.engine import Engine
from worker.faces import Face, Floats, Mesh, Pixels, find
from worker.settings import EngineSettings

T = TypeVar("T")

DEGREES = (0, 20, 40, 90)
SHARES = (2, 5, 10, 20)
"""The portrait's side is the long side of the picture divided by this; a face is about half as wide as its portrait."""
EYES = Picture(size=1).eyes
"""Where they stand in an aligned portrait."""
THIRDS = ("darkest third", "middle third", "lightest third")
_CHEEKS = [50, 101, 205, 280, 330, 425]
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class Trial:
    """One portrait in one picture."""

    degrees: int
    share: int
    lightness: float
    off: float | None
    """How far the eye that is further off is from its place, in distances between the eyes; None: nothing was found."""
    took_s: float

    @property
    def found(self) -> bool:
        """Whether the face was."""
        return self.off is not None and self.off < 1 / 3


class Finder:
    """The shipped bundle, in this process."""

    def __init__(self) -> None:
        """Loads it."""
        folder = Path(models.__file__).parent / "pretrained" / "face-detector"
        self._engine = Engine(archive.read(folder), EngineSettings(threads=1))

    def __call__(self, image: Image.Image) -> tuple[Face, ...]:
        """The faces of a picture."""
        return asyncio.run(find(image, self._run, self._thread))

    def lightness(self, portrait: Image.Image) -> float:
        """CIELAB L* of an aligned portrait's cheeks, 0 to 100: the median around six points of the mesh."""
        side = portrait.width
        view = Square(side / 2, 0.58 * side, 0.85 * side)
        features: Floats = self._engine.run("mesh", {"pixels": upright(portrait, view, 192)[None]})["features"]
        centres = Mesh.read(features[0], view).points[_CHEEKS]
        patches = [upright(portrait, Square(float(x), float(y), side / 40), 4).reshape(-1, 3) for x, y in centres]
        levels = np.median(np.concatenate(patches), axis=0) / 255
        linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
        y = float(linear @ (0.2126, 0.7152, 0.0722))
        return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y

    async def _run(self, graph: str, pixels: Pixels) -> Floats:
        features: Floats = self._engine.run(graph, {"pixels": pixels})["features"]
        return features

    async def _thread(self, function: Callable[[], T]) -> T:
        return function()


def main() -> None:
    """Prints the tables."""
    options = _options()
    random.seed(0)
    portraits, others = _chosen(options.faces, options.count), _chosen(options.others, options.pictures)
    finder = Finder()
    trials: list[Trial] = []
    for index, path in enumerate(portraits):
        if index % 50 == 0:
            print(f"{index} of {len(portraits)} portraits", file=sys.stderr)
        with Image.open(path) as opened:
            portrait = opened.convert("RGB")
        lightness = finder.lightness(portrait)
        for turn, degrees in enumerate(DEGREES):
            share = SHARES[(index + turn) % len(SHARES)]
            ground = _ground(others[(index + 7 * turn) % len(others)], options.side)
            trials.append(_tried(finder, portrait, ground, degrees, share, lightness))
    alarms = [len(finder(_ground(path, options.side))) for path in others]
    _print(trials, alarms, len(portraits), options.side)


def _tried(
    finder: Finder, portrait: Image.Image, ground: Image.Image, degrees: int, share: int, lightness: float
) -> Trial:
    """The portrait pasted somewhere on the picture, tilted clockwise, and looked for."""
    side = max(ground.size) // share
    resized = portrait.convert("RGBA").resize((side, side), Image.Resampling.LANCZOS)
    tilted = resized.rotate(-degrees, Image.Resampling.BICUBIC, expand=True)
    at = [random.randrange(max(1, length - pasted)) for length, pasted in zip(ground.size, tilted.size, strict=True)]
    ground.paste(tilted, (at[0], at[1]), tilted)
    square = Square(at[0] + tilted.width / 2, at[1] + tilted.height / 2, side, radians(degrees))
    eyes = square.place(np.array(EYES, np.float32), 1)
    started = time.perf_counter()
    found = finder(ground)
    took_s = time.perf_counter() - started
    apart = side * (EYES[1][0] - EYES[0][0])
    offs = [
        max(hypot(x - u, y - v) for (x, y), (u, v) in zip((face.left, face.right), eyes, strict=True)) / apart
        for face in found
    ]
    return Trial(degrees, share, lightness, min(offs, default=None), took_s)


def _print(trials: Sequence[Trial], alarms: Sequence[int], portraits: int, side: int) -> None:
    print(f"{portraits} portraits on {len(alarms)} pictures, {side} px on the long side; found, %\n")
    print("| tilt |" + "".join(f" portrait 1/{share} |" for share in SHARES) + " all |")
    print("| --- |" + " --- |" * (len(SHARES) + 1))
    for degrees in DEGREES:
        rows = [trial for trial in trials if trial.degrees == degrees]
        cells = [_share([trial for trial in rows if trial.share == share]) for share in SHARES]
        print(f"| {degrees}° | {' | '.join((*cells, _share(rows)))} |")
    bounds = np.percentile([trial.lightness for trial in trials], (100 / 3, 200 / 3))
    print("\n| cheeks | L* | 0 to 40° | of them portrait 1/5 or more |\n| --- | --- | --- | --- |")
    for place, name in enumerate(THIRDS):
        rows = [trial for trial in trials if np.searchsorted(bounds, trial.lightness) == place and trial.degrees <= 40]
        lightness = [trial.lightness for trial in rows]
        large = [trial for trial in rows if trial.share <= 5]
        print(f"| {name} | {min(lightness):.0f} to {max(lightness):.0f} | {_share(rows)} | {_share(large)} |")
    offs = [trial.off for trial in trials if trial.off is not None and trial.found]
    usual, most = (100 * float(value) for value in np.percentile(offs, (50, 95)))
    print(f"\neyes: off by {usual:.1f} % of their distance in half of the found faces, by {most:.1f} % in 95 %")
    print(f"alarms: {sum(alarms)} in {sum(map(bool, alarms))} of {len(alarms)} pictures")
    print(f"search: {1000 * statistics.median(trial.took_s for trial in trials):.0f} ms, the median")


def _share(trials: Sequence[Trial]) -> str:
    return f"{100 * sum(trial.found for trial in trials) / len(trials):.1f}" if trials else "-"


def _ground(path: Path, side: int) -> Image.Image:
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    scale = side / max(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)


def _chosen(folder: Path, most: int) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not found:
        raise SystemExit(f"there are no pictures in {folder}")
    return random.sample(found, min(most, len(found)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True, help="aligned portraits, squares of one face each")
    parser.add_argument("--others", type=Path, required=True, help="pictures without people")
    parser.add_argument("--count", type=int, default=600, help="portraits, drawn from those that are there")
    parser.add_argument("--pictures", type=int, default=200, help="pictures, drawn from those that are there")
    parser.add_argument("--side", type=int, default=1280, help="pixels of the pictures' long side")
    return parser.parse_args()


if __name__ == "__main__":
    main()
