"""Carries a network's change over to a picture's own pixels, and draws the contact sheet; unchanged pixels stay."""

from collections.abc import Sequence
from functools import partial
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.bundle.pixels import Box, Square

Floats = NDArray[np.float32]


def carry(
    original: Image.Image, part: Box | Square, before: NDArray[np.uint8], after: NDArray[np.uint8], strength: float
) -> Image.Image:
    """The change from `before` to `after` (uint8 [s,s,3], what the network saw of `part` and made of it), at full size.

    With U enlarging to the part, and turning back what was turned upright, the result is
    original + strength * U(after - before). Where that change is strong, the original's own detail,
    original - U(before), fades out: otherwise traces of the old would lie over the new. Sides of the part inside the
    picture are feathered. `strength` is 0..2: 0 changes nothing; 1 gives `after` itself where the part is the whole
    picture and of the network's size; more goes further in the same direction.

    A pixel keeps its exact value if the network changed nothing within two of its own pixels. Returns RGB of the
    original's size; the original itself if nothing changed at all.
    """
    change = after.astype(np.float32) - before.astype(np.float32)
    if strength == 0 or not change.any():
        return original
    box = part.bounds(original.size) if isinstance(part, Square) else part
    size = (box[2] - box[0], box[3] - box[1])
    if not all(size):
        return original
    # Turning is most of the work, and bilinear turning half of it: planes that were enlarged are as smooth then.
    finer, smooth = (_FINER, Image.Resampling.BILINEAR) if isinstance(part, Square) else (1, Image.Resampling.BICUBIC)
    fading = _plane(_fade(change) * np.float32(min(strength, 1.0)), finer, Image.Resampling.BILINEAR)
    channels = [(_plane(before[..., c].astype(np.float32), finer), _plane(change[..., c], finer)) for c in range(3)]
    result = original.copy()
    rows = max(1, _STRIP // size[0])
    for top in range(0, size[1], rows):
        bottom = min(top + rows, size[1])
        place = (box[0], box[1] + top, box[2], box[1] + bottom)
        if isinstance(part, Square):
            share, enlarged = _soft(part, place), partial(_turned, square=part, place=place)
        else:
            across, down = _feather(box[0], box[2], original.width), _feather(box[1], box[3], original.height)
            share, enlarged = down[top:bottom, None] * across, partial(_enlarge, size=size, top=top, bottom=bottom)
        # Bilinear, which reaches no further than the change itself, so that far pixels stay as they are.
        gone = enlarged(fading, resample=Image.Resampling.BILINEAR)
        made: list[Image.Image] = []
        for channel, (seen, moved) in zip(original.crop(place).split(), channels, strict=True):
            pixels = np.asarray(channel).astype(np.float32)
            detail = pixels - enlarged(seen, resample=smooth)
            move = enlarged(moved, resample=smooth) * np.float32(strength)
            move -= detail * gone
            pixels += move * share
            pixels += np.float32(0.5)  # rounds, since the conversion cuts off
            made.append(Image.fromarray(np.clip(pixels, 0, 255, out=pixels).astype(np.uint8)))
        result.paste(Image.merge("RGB", made), place)
    return result


def sheet(pictures: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """A contact sheet of labelled RGB pictures, in rows from the top left; cells are as large as the largest."""
    width = max(picture.width for _, picture in pictures)
    height = max(picture.height for _, picture in pictures)
    text = max(_SMALLEST_TEXT, round(width * 0.075))
    gap, caption = max(6, width // 16), round(text * 1.9)
    # The number of columns that brings the page closest to 4 : 3, with no column left empty.
    count = len(pictures)
    wanted = min(count, max(1, round(sqrt(count * (height + gap + caption) / (width + gap) * 4 / 3))))
    columns = ceil(count / ceil(count / wanted))
    rows = ceil(count / columns)
    size = (gap + columns * (width + gap), gap + rows * (height + caption) + (rows - 1) * (gap // 2) + gap // 2)
    page = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(page)
    for place, (label, picture) in enumerate(pictures):
        row, column = divmod(place, columns)
        left, top = gap + column * (width + gap), gap + row * (height + caption + gap // 2)
        page.paste(picture, (left + (width - picture.width) // 2, top + (height - picture.height) // 2))
        font = ImageFont.load_default(text)
        if (length := draw.textlength(label, font=font)) > width:
            font = ImageFont.load_default(max(_SMALLEST_TEXT, int(text * width / length)))
        at = (left + width / 2, top + height + caption * 0.5)
        draw.text(at, label, fill=_INK if place else _FIRST_INK, font=font, anchor="mm")
    return page


_WEAK, _STRONG = 4.0, 40.0  # levels of change, of 255, between which the original's detail fades out
_FINER = 4
_FEATHER = 0.04  # of the box's side
_STRIP = 1 << 17  # pixels computed at once: more of them do not fit into the cache
_SMALLEST_TEXT = 9
_PAPER, _INK, _FIRST_INK = (250, 250, 251), (52, 56, 66), (142, 148, 160)


def _plane(values: Floats, finer: int, resample: Image.Resampling = Image.Resampling.BICUBIC) -> Image.Image:
    """One channel [s,s] as a float image [finer * s, finer * s]: bytes would round twice, and clip overshoots."""
    plane = Image.fromarray(np.ascontiguousarray(values))
    return plane if finer == 1 else plane.resize((finer * plane.width, finer * plane.height), resample)


def _fade(change: Floats) -> Floats:
    """How far the original's detail fades out, 0..1 [s,s]: by the strongest channel's change, averaged over 3 x 3."""
    height, width = change.shape[:2]
    strongest = np.pad(np.abs(change).max(axis=-1), 1, mode="edge")
    around = [strongest[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    mean: Floats = np.mean(around, axis=0, dtype=np.float32)
    return _smoothstep((mean - _WEAK) / (_STRONG - _WEAK))


def _smoothstep(x: Floats) -> Floats:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _feather(start: int, end: int, length: int) -> Floats:
    """The share of the change along one side of the box, 0..1 [end - start]: 1 but near ends inside the picture."""
    share = np.ones(end - start, np.float32)
    margin = round(_FEATHER * (end - start))
    ramp = _smoothstep((np.arange(margin, dtype=np.float32) + np.float32(0.5)) / np.float32(max(margin, 1)))
    if start > 0:
        share[:margin] *= ramp
    if end < length:
        share[end - start - margin :] *= ramp[::-1]
    return share


def _enlarge(plane: Image.Image, size: tuple[int, int], top: int, bottom: int, resample: Image.Resampling) -> Floats:
    """The rows top to bottom of the plane resized to `size`, float32 [rows,width]."""
    scale = plane.height / size[1]
    source = (0.0, top * scale, float(plane.width), min(bottom * scale, float(plane.height)))
    return np.asarray(plane.resize((size[0], bottom - top), resample, box=source))


def _turned(plane: Image.Image, resample: Image.Resampling, square: Square, place: Box) -> Floats:
    """What of the plane, seen in the square, lies in the place, float32 [height,width]; 0 outside the square."""
    ends = np.array([(place[0], place[1]), (place[0] + 1, place[1]), (place[0], place[1] + 1)], np.float32)
    start, right, below = square.find(ends, plane.width).astype(np.float64)
    (a, d), (b, e) = right - start, below - start
    size = (place[2] - place[0], place[3] - place[1])
    return np.asarray(plane.transform(size, Image.Transform.AFFINE, (a, b, start[0], d, e, start[1]), resample))


def _soft(square: Square, place: Box) -> Floats:
    """The share of the change in the place, 0..1 [height,width]: 1 but near the square's sides, and 0 beyond them."""
    columns, rows = np.arange(place[0], place[2]) + 0.5, np.arange(place[1], place[3]) + 0.5
    points = np.stack(np.meshgrid(columns, rows), axis=-1).astype(np.float32)
    within = np.float32(0.5) - np.abs(square.find(points, 1) - np.float32(0.5))  # from the nearest sides
    share: Floats = _smoothstep(within / np.float32(_FEATHER)).prod(axis=-1)
    return share
