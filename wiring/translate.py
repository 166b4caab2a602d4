"""`recast translate`: translates files and folders in this process; a picture that fails stops no other."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from models.bundle.store import Store
from worker.embedded import Embedded
from worker.engine.library import Library
from worker.errors import EngineError, InvalidParameter, RecastError
from worker.imaging.formats import by_extension, sniff
from worker.pipeline import Pipeline, output_format
from worker.settings import EngineSettings, Limits
from worker.wish import Wish

_AT_ONCE = 8
_DEADLINE_S = 600.0  # for one picture, the loading of its bundle included
_HEAD = 256  # bytes that are enough to tell a file's format
_FATAL = {"unknown-domain", "invalid-domains", "unknown-model", "not-ready", "invalid-parameter"}
"""Codes of errors that every picture would get, so that the first one ends the command."""


@dataclass(frozen=True)
class Translation:
    """One picture to translate."""

    source: Path
    target: Path
    whole: bool
    """Whether `target` is the output's whole name; else the suffix of its format, known only later, is added."""


def gather(inputs: Sequence[Path], out: Path, wish: Wish) -> list[Translation]:
    """The pictures of files and folders, each with its output.

    A single file goes to `out` itself if that names a picture file; all others go below the folder `out`. Sub-folders
    are searched too, except `out`, and kept.

    Raises InvalidParameter if an input is missing, if there is no picture, if two outputs would be one file, or if an
    output would replace an input.
    """
    if missing := [path for path in inputs if not path.exists()]:
        raise InvalidParameter(f"there is no file or folder {missing[0]}")
    if len(inputs) == 1 and inputs[0].is_file() and by_extension(out.suffix) and not out.is_dir():
        found = [Translation(inputs[0], out, whole=True)]
    else:
        found = [each for path in inputs for each in _within(path, out)]
    if not found:
        raise InvalidParameter(f"there are no pictures in {', '.join(map(str, inputs))}")
    _refuse_collisions(found, wish)
    return found


async def translate(
    todo: Sequence[Translation], wish: Wish, store: Store, advance: Callable[[int], None]
) -> dict[Path, str]:
    """Translates some pictures at a time; returns those that failed, with the reason.

    Each output is written atomically; `advance` is called with the number of finished pictures. Raises errors that
    every picture would get (an unknown domain, a model that can't be loaded).
    """
    settings = EngineSettings()
    failures: dict[Path, str] = {}
    waiting, done = iter(todo), 0

    async def work(pipeline: Pipeline) -> None:
        nonlocal done
        for each in waiting:
            try:
                await _translate(each, wish, pipeline)
            except (RecastError, EngineError, OSError) as error:
                if isinstance(error, RecastError) and error.code in _FATAL:
                    raise
                failures[each.source] = str(error)
            done += 1
            advance(done)

    async with AsyncExitStack() as stack:
        translator = Embedded(Library(store, settings), settings)
        stack.push_async_callback(translator.close)
        pipeline = Pipeline(store, translator, Limits(), threads=settings.threads)
        stack.callback(pipeline.close)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_AT_ONCE):
                    group.create_task(work(pipeline))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
    return failures


def _within(path: Path, out: Path) -> Iterator[Translation]:
    if path.is_file():
        yield Translation(path, out / path.stem, whole=False)
        return
    root, outputs = path.resolve(), out.resolve()
    for file in sorted(path.rglob("*")):
        within = file.relative_to(path)
        # Outputs of an earlier run are not inputs of this one.
        if outputs in (root / within).parents and outputs != root and root in outputs.parents:
            continue
        if by_extension(file.suffix) and file.is_file():
            yield Translation(file, out / within.with_suffix(""), whole=False)


def _refuse_collisions(todo: Sequence[Translation], wish: Wish) -> None:
    """Raises InvalidParameter if an output would replace an input or another output.

    Opens only files whose format decides where their outputs go, as that of a.jpg beside a.png does.
    """
    resolved = cache(Path.resolve)  # of folders alone, so that thousands of files in one cost one look at the disk
    sources = {resolved(each.source.parent) / each.source.name for each in todo}
    stems = {source.with_suffix("") for source in sources}
    rivals = Counter(each.target for each in todo)
    outputs: set[Path] = set()
    for each in todo:
        output = resolved(each.target.parent) / each.target.name
        if not each.whole:
            if rivals[each.target] == 1 and output not in stems:
                continue
            with each.source.open("rb") as file:
                read = sniff(file.read(_HEAD))
            if read is None:  # no picture: it will fail and have no output
                continue
            output = output.with_name(output.name + output_format(wish, read).extensions[0])
        if output in sources:
            raise InvalidParameter(f"the result {output} would replace an input; choose another folder with --out")
        if output in outputs:
            raise InvalidParameter(f"two pictures would be written to {output}; translate them to different folders")
        outputs.add(output)


async def _translate(each: Translation, wish: Wish, pipeline: Pipeline) -> None:
    content = await asyncio.to_thread(each.source.read_bytes)
    target = each.target
    named = by_extension(target.suffix) if each.whole else None
    if named and wish.format is None:  # the pipeline refuses a format that is not written
        wish = wish.model_copy(update={"format": named.name})
    answer = await pipeline.translate(content, wish, deadline=time.monotonic() + _DEADLINE_S)
    if not each.whole:
        target = target.with_name(target.name + answer.format.extensions[0])

    def write() -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        part.write_bytes(answer.data)
        os.replace(part, target)

    await asyncio.to_thread(write)
