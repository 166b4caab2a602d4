"""Requests to an attribute model, and their exact answers for sets that `recast data` has drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.bundle.manifest import Domain, Manifest, Picture
from models.bundle.pixels import shrink
from models.data.tables import Labels
from models.drawn import sets
from models.drawn.sets import Scene
from models.evaluation import figures
from models.evaluation.figures import Value
from models.evaluation.metrics import Masks, Pixels, psnr, ssim


@dataclass(frozen=True)
class Request:
    """A domain, or its absence. `columns` are the domains of label vectors, a model's or one set's."""

    domain: Domain
    present: bool

    def __str__(self) -> str:
        return self.domain.name if self.present else f"-{self.domain.name}"

    def fulfilled_by(self, labels: Labels, columns: Sequence[Domain]) -> NDArray[np.bool_]:
        """Which label vectors n x c are known to fulfil the request, n."""
        fulfilled: NDArray[np.bool_] = labels[:, columns.index(self.domain)] == float(self.present)
        return fulfilled

    def contradicted_by(self, labels: Labels, columns: Sequence[Domain]) -> NDArray[np.bool_]:
        """Which label vectors n x c are known not to fulfil the request, n; unknown labels do neither."""
        contradicted: NDArray[np.bool_] = labels[:, columns.index(self.domain)] == float(not self.present)
        return contradicted

    def other_columns(self, columns: Sequence[Domain]) -> list[int]:
        """The columns that the request must not change: all but the domain's own and its group's."""
        return [column for column, domain in enumerate(columns) if not self._concerns(domain)]

    def label_input(self, own: Labels, manifest: Manifest) -> Labels:
        """The model's label input n x (c + masks) for pictures with the labels `own` n x c, the same as in serving."""
        labels = own.copy()
        for column, domain in enumerate(columns_of(manifest)):
            if self._concerns(domain):
                labels[:, column] = self.present and domain == self.domain
        return with_mask(labels, self.domain.mask, manifest)

    def _concerns(self, domain: Domain) -> bool:
        return domain == self.domain or (domain.group is not None and domain.group == self.domain.group)


def columns_of(manifest: Manifest) -> tuple[Domain, ...]:
    """The domains of a model's label vector, in its order."""
    return tuple(domain for name in manifest.label_order if (domain := manifest.find(name)))


def requests(domains: Sequence[Domain]) -> list[Request]:
    """Every request for some domains: each domain, and outside a group also its absence."""
    # The absence of a group's member does not say which other member to show.
    ways = {True: (True,), False: (True, False)}
    return [Request(domain, present) for domain in domains for present in ways[domain.group is not None]]


def with_mask(labels: Labels, mask: str | None, manifest: Manifest) -> Labels:
    """Label vectors n x c with the mask of a joint model appended; columns of other masks become 0."""
    if mask is None:
        return labels
    known = np.array([domain.mask == mask for domain in columns_of(manifest)], np.float32)
    place = np.array([name == mask for name in manifest.mask_columns], np.float32)
    return np.concatenate([labels * known, np.broadcast_to(place, (len(labels), len(place)))], axis=1)


@dataclass(frozen=True)
class Scenes:
    """The scenes of n pictures, and where faces and heads are, n x s x s. Files have `side` pixels a side."""

    scenes: tuple[Scene, ...]
    faces: Masks
    heads: Masks
    side: int
    picture: Picture

    def __getitem__(self, chosen: NDArray[np.intp]) -> "Scenes":
        """Some of them, in the order of `chosen`."""
        scenes = tuple(self.scenes[index] for index in chosen)
        return Scenes(scenes, self.faces[chosen], self.heads[chosen], self.side, self.picture)

    def answers(self, request: Request) -> Pixels | None:
        """The exact answers to a request, n x s x s x 3; None if the set can't draw them."""
        try:
            changed = [scene.with_domain(request.domain.name, request.present) for scene in self.scenes]
        except ValueError:
            return None
        return np.stack([shrink(Image.fromarray(one.draw(self.side)), self.picture) for one in changed])

    def measure(self, inputs: Pixels, outcome: Pixels, exact: Pixels) -> tuple[Value, ...]:
        """Compares translations with the exact answers: over face, head, and what should and should not change."""
        differs = (inputs != exact).any(axis=-1)
        visible = differs.any(axis=(1, 2))  # under a hat, new hair may not be visible at all
        values = [
            Value(figures.FACE, float(psnr(outcome, exact, self.faces).mean())),
            Value(figures.HEAD, float(psnr(outcome, exact, self.heads).mean())),
            Value(figures.UNTOUCHED, float(psnr(inputs, exact, self.heads).mean())),
            Value(figures.STAYED, float(psnr(outcome, exact, self.heads & ~differs).mean())),
            Value(figures.EXACT, float(ssim(outcome, exact).mean())),
        ]
        if visible.any():
            values.append(
                Value(figures.CHANGED, float(psnr(outcome[visible], exact[visible], differs[visible]).mean()))
            )
        return tuple(values)

    def worst(self, outcome: Pixels, exact: Pixels, count: int) -> NDArray[np.intp]:
        """The pictures with the lowest PSNR over the head, lowest first."""
        return np.argsort(psnr(outcome, exact, self.heads), kind="stable")[:count]


def open_scenes(files: Sequence[Path], picture: Picture) -> Scenes | None:
    """The scenes of some files of one set; None if `recast data` can't draw the set again."""
    drawn_set = sets.set_of(files[0])
    scenes = tuple(scene for file in files if drawn_set and (scene := drawn_set.scene(file)) is not None)
    if len(scenes) < len(files):
        return None
    faces = np.stack([scene.face_mask(picture.size) for scene in scenes])
    heads = np.stack([scene.head_mask(picture.size) for scene in scenes])
    with Image.open(files[0]) as first:
        return Scenes(scenes, faces, heads, first.width, picture)
