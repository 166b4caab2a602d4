"""`recast data align`: photographs of people become aligned faces, by the code that shows faces to networks."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from PIL import Image

from models.bundle.archive import Bundle
from models.bundle.manifest import Picture
from models.bundle.pixels import Square, look
from models.bundle.store import Store
from worker.embedded import Embedded
from worker.engine.library import Library
from worker.errors import InvalidParameter, RecastError
from worker.faces import Floats, Pixels, find
from worker.imaging.decode import Decoded, decode
from worker.imaging.formats import by_extension
from worker.pool import Pool
from worker.settings import EngineSettings, Limits
from worker.translator import Translator

LEFT_OUT = "left_out.txt"
"""The file in OUT that says what of the photographs is missing, and why."""

_AT_ONCE = 8
_PATIENCE_S = 600.0
_QUALITY = 95


async def align(
    folder: Path, out: Path, picture: Picture, store: Store, advance: Callable[[int, int], None]
) -> tuple[int, dict[str, str]]:
    """Writes each face of a folder's photographs to OUT, upright, as `picture` says; how many, and what was left out.

    Sub-folders stay, as they may be domains; photographs of the folder itself go to OUT/images. Faces less than half as
    large as they would become are left out. `advance` is called with the number of photographs done and of all. Raises
    InvalidParameter where there is nothing to do, no bundle detects faces, or OUT holds something.
    """
    todo = sorted(path for path in folder.rglob("*") if path.is_file() and by_extension(path.suffix))
    if not todo:
        raise InvalidParameter(f"there are no pictures in {folder}")
    if out.exists() and any(out.iterdir()):
        raise InvalidParameter(f"{out} is not an empty folder; choose another, or remove it first")
    detector = store.snapshot().detector
    if detector is None:
        raise InvalidParameter("no store holds a bundle that detects faces; the shipped one is `face-detector`")
    settings, waiting, stems = EngineSettings(), enumerate(todo, start=1), Counter(p.with_suffix("") for p in todo)
    written, left_out = 0, dict[str, str]()

    async def work(translator: Translator, pool: Pool) -> None:
        nonlocal written
        for place, path in waiting:
            name = path.relative_to(folder)
            # Where a.png and a.jpg lie beside each other, their whole names stay a part of the new ones.
            base = name if stems[path.with_suffix("")] > 1 else name.with_suffix("")
            target = out / (base if name.parent.name else Path("images", base))
            try:
                faces, small = await _cut(path, target, picture, detector, translator, pool)
            except (RecastError, OSError) as error:
                left_out[name.as_posix()] = str(error)
            else:
                written += faces
                if small or not faces:
                    sides = ", ".join(f"{side:.0f} px" for side in small)
                    left_out[name.as_posix()] = f"too small: {sides}" if small else "no face was found"
            advance(place, len(todo))

    async with AsyncExitStack() as stack:
        translator = Embedded(Library(store, settings), settings)
        stack.push_async_callback(translator.close)
        pool = Pool(settings.threads)
        stack.callback(pool.close)
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(work(translator, pool))
    out.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{name}: {reason}\n" for name, reason in sorted(left_out.items()))
    (out / LEFT_OUT).write_text(lines, encoding="utf-8")
    return written, left_out


async def _cut(
    path: Path, target: Path, picture: Picture, detector: Bundle, translator: Translator, pool: Pool
) -> tuple[int, list[float]]:
    """Writes the faces of a photograph that are large enough: how many, and the sides of the others."""

    async def features(graph: str, pixels: Pixels) -> Floats:
        deadline = time.monotonic() + _PATIENCE_S
        done = await translator.run(detector, graph, {"pixels": pixels}, deadline=deadline)
        found: Floats = done.outputs["features"]
        return found

    decoded = await pool.run(lambda: decode(path.read_bytes(), Limits()))
    faces = await find(decoded.image, features, pool.run)
    squares = [Square.around((face.left, face.right), picture.eyes) for face in faces]
    large = [square for square in squares if square.side >= picture.size / 2]
    await pool.run(partial(_write, decoded, large, target, picture))
    return len(large), [square.side for square in squares if square.side < picture.size / 2]


def _write(decoded: Decoded, squares: Sequence[Square], target: Path, picture: Picture) -> None:
    for number, square in enumerate(squares, start=1):
        target.parent.mkdir(parents=True, exist_ok=True)
        aligned = target.with_name(f"{target.name}{f'-{number}' if len(squares) > 1 else ''}.jpg")
        pixels = look(decoded.image, picture, square)
        Image.fromarray(pixels).save(aligned, quality=_QUALITY, subsampling=0, icc_profile=decoded.icc)
