"""Exact answers where the data can give them: what a picture shows is drawn again, with what was asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.bundle.manifest import Picture
from models.bundle.pixels import shrink
from models.drawn import sets
from models.drawn.sets import Scene
from models.evaluation import figures
from models.evaluation.figures import Value
from models.evaluation.metrics import Pixels, psnr, ssim
from models.evaluation.requests import Request

Masks = NDArray[np.bool_]


@dataclass(frozen=True)
class Shown:
    """What n pictures show, and where faces and heads are, n x s x s; drawn at `side` pixels as the files are."""

    drawn: tuple[Scene, ...]
    faces: Masks
    heads: Masks
    side: int
    picture: Picture

    def __getitem__(self, chosen: NDArray[np.intp]) -> "Shown":
        """Some of them, in the order of `chosen`."""
        drawn = tuple(self.drawn[index] for index in chosen)
        return Shown(drawn, self.faces[chosen], self.heads[chosen], self.side, self.picture)

    def changed(self, request: Request) -> Pixels | None:
        """The same with what was asked, n x s x s x 3; None where they have nothing of the kind."""
        try:
            changed = [one.with_domain(request.domain.name, request.present) for one in self.drawn]
        except ValueError:
            return None
        return np.stack([shrink(Image.fromarray(one.draw(self.side)), self.picture) for one in changed])

    def likeness(self, inputs: Pixels, outcome: Pixels, exact: Pixels) -> tuple[Value, ...]:
        """How near translations are to the exact answers: where it counts, and where they fall short."""
        differs = (inputs != exact).any(axis=-1)
        shows = differs.any(axis=(1, 2))  # under a hat, new hair may not show at all
        values = [
            Value(figures.FACE, float(psnr(outcome, exact, self.faces).mean())),
            Value(figures.HEAD, float(psnr(outcome, exact, self.heads).mean())),
            Value(figures.UNTOUCHED, float(psnr(inputs, exact, self.heads).mean())),
            Value(figures.STAYED, float(psnr(outcome, exact, self.heads & ~differs).mean())),
            Value(figures.EXACT, float(ssim(outcome, exact).mean())),
        ]
        if shows.any():
            values.append(Value(figures.CHANGED, float(psnr(outcome[shows], exact[shows], differs[shows]).mean())))
        return tuple(values)

    def worst(self, outcome: Pixels, exact: Pixels, count: int) -> NDArray[np.intp]:
        """The pictures with the lowest PSNR over the head, lowest first."""
        return np.argsort(psnr(outcome, exact, self.heads), kind="stable")[:count]


def shown_by(files: Sequence[Path], picture: Picture) -> Shown | None:
    """What some files of one set show; None where it was not made here."""
    described = sets.set_of(files[0])
    drawn = tuple(one for file in files if described and (one := described.scene(file)) is not None)
    if len(drawn) < len(files):
        return None
    faces = np.stack([one.face_mask(picture.size) for one in drawn])
    heads = np.stack([one.head_mask(picture.size) for one in drawn])
    with Image.open(files[0]) as first:
        side = first.width
    return Shown(drawn, faces, heads, side, picture)
