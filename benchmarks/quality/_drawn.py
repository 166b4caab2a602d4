"""The data of the comparisons: label maps of avatars beside the avatars, and faces with expressions.

A label map gives the class of each pixel, like the maps of Cityscapes: it shows the colour of hair and every wrinkle,
but neither the colours of skin, clothes and background nor any shade. Faces are crops of drawn people, as in RaFD.
"""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.drawn import writing
from models.drawn.canvas import WHITE, Colour, mix
from models.drawn.person import Person, person, tones
from models.drawn.portrait import Portrait
from models.drawn.writing import Notify

Pixels = NDArray[np.uint8]

CLASSES: dict[str, Colour] = {
    "background": (0, 220, 60),
    "skin": (255, 150, 255),
    "folds": (130, 50, 110),
    "black": (30, 30, 30),
    "blond": (250, 190, 40),
    "brown": (130, 60, 0),
    "grey": (150, 150, 150),
    "clothes": (0, 90, 255),
    "hat": (0, 0, 130),
    "mouth": (230, 0, 40),
    "white": (255, 255, 255),
}
"""The classes and their colours in a map; black hair, lashes and frames of glasses are one class."""
_COLOURS = np.array(list(CLASSES.values()), np.int32)

_FACE = 0.57
"""The side of the square crop around a face, as a share of the picture's side."""
_FACE_TOP = 0.25


def write_pairs(out: Path, avatars: Path, seed: int, count: int, size: int, notify: Notify) -> None:
    """Writes maps to trainA/ and testA/, and the avatars of this seed and count to trainB/ and testB/."""
    with writing.atomic_folder(out) as folder:
        for name in ("trainA", "trainB", "testA", "testB"):
            (folder / name).mkdir()
        writing.run_parallel(partial(_write_pair, folder, avatars, seed, size, count), count, count, notify)


def write_unpaired(out: Path, pairs: Path) -> None:
    """Writes maps of one half of the training people, avatars of the other half, and the test parts of `pairs`."""
    with writing.atomic_folder(out) as folder:
        for half, side in enumerate("AB"):
            shutil.copytree(pairs / f"test{side}", folder / f"test{side}")
            (folder / f"train{side}").mkdir()
            for path in sorted((pairs / f"train{side}").iterdir())[half::2]:
                shutil.copyfile(path, folder / f"train{side}" / path.name)


def write_faces(out: Path, expressions: tuple[str, ...], seed: int, count: int, size: int, notify: Notify) -> None:
    """Writes faces to train/NAME and test/NAME for each expression, a tenth of them to the test part."""
    with writing.atomic_folder(out) as folder:
        for part in ("train", "test"):
            for name in expressions:
                (folder / part / name).mkdir(parents=True)
        writing.run_parallel(partial(_write_face, folder, expressions, seed, size, count), count, count, notify)


def label_map(one: Person, size: int) -> Pixels:
    """The label map of the person's avatar, size x size x 3 in the colours of CLASSES."""
    plain = replace(
        one, skin=CLASSES["skin"], blush=0.0, freckles=False, hair_tone=0.0, clothes_colour=CLASSES["clothes"],
        backdrop="glow", background=(CLASSES["background"],) * 2, eye_colour=CLASSES["black"],
    )  # fmt: skip
    inks = tones(plain)
    shades: dict[str, list[Colour]] = {
        "background": [CLASSES["background"]],
        "skin": [inks.skin, inks.skin_shade, inks.skin_light, mix(inks.skin, (232, 92, 88), 0.35)],
        "folds": [inks.skin_deep, mix(inks.skin, inks.skin_deep, 0.6)],
        "clothes": [inks.cloth, inks.cloth_dark, inks.cloth_light, inks.hat],
        "mouth": [inks.lips, (112, 26, 38)],
        "white": [WHITE],
        "black": [(30, 24, 30)],
    }
    beard = mix(inks.hair_dark, inks.skin_shade, 0.3)
    hair = [inks.hair, inks.hair_dark, inks.hair_light, beard]
    shades[one.attributes.hair] = shades.get(one.attributes.hair, []) + hair
    names = [name for name, colours in shades.items() for _ in colours]
    nearest = _nearest(
        Portrait(plain).draw(2 * size)[::2, ::2], np.array([c for some in shades.values() for c in some])
    )
    drawn = np.array([CLASSES[name] for name in names], np.uint8)[nearest]
    upper = drawn[: size // 2]
    upper[(upper == CLASSES["clothes"]).all(axis=-1)] = CLASSES["hat"]  # both have the colour of the clothes
    return drawn


def classes(maps: Pixels) -> NDArray[np.intp]:
    """Maps n x s x s x 3 to indices into CLASSES n x s x s: the class with the nearest colour."""
    return _nearest(maps, _COLOURS)


def face(one: Person, size: int) -> Pixels:
    """The person's face, size x size x 3."""
    whole = round(size / _FACE)
    left, top = (whole - size) // 2, round(_FACE_TOP * whole)
    return Portrait(one).draw(whole)[top : top + size, left : left + size]


def expressive_person(expressions: tuple[str, ...], seed: int, index: int) -> Person:
    """The person with this number; the expressions take turns."""
    one = person(f"faces/{seed}", index)
    return one.with_attributes(one.attributes.with_domain(expressions[index % len(expressions)]))


def _nearest(pixels: Pixels, colours: NDArray[np.number]) -> NDArray[np.intp]:
    apart = np.square(pixels[..., None, :].astype(np.float32) - colours.astype(np.float32)).sum(axis=-1)
    nearest: NDArray[np.intp] = apart.argmin(axis=-1)
    return nearest


def _write_pair(folder: Path, avatars: Path, seed: int, size: int, count: int, index: int) -> int:
    part = writing.part_of(index, count)
    name = writing.file_name(index)
    if part != 1:  # avatars for validation are in neither part
        place = "test" if part else "train"
        Image.fromarray(label_map(person(seed, index), size)).save(folder / f"{place}A" / name, compress_level=1)
        shutil.copyfile(avatars / "images" / name, folder / f"{place}B" / name)
    return 1


def _write_face(folder: Path, expressions: tuple[str, ...], seed: int, size: int, count: int, index: int) -> int:
    one = expressive_person(expressions, seed, index)
    part = "test" if writing.part_of(index, count) == 2 else "train"
    path = folder / part / one.attributes.expression / writing.file_name(index)
    Image.fromarray(face(one, size)).save(path, compress_level=1)
    return 1
