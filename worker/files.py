"""Files and folders translated here and now; a picture that fails has no output and keeps nobody else waiting."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.bundle.store import Store
from worker.embedded import Embedded
from worker.engine.library import Library
from worker.errors import EngineError, InvalidParameter, RecastError
from worker.imaging.formats import by_extension
from worker.pipeline import Pipeline
from worker.settings import EngineSettings, Limits
from worker.wish import Wish

_AT_ONCE = 8
_PATIENCE_S = 600.0


@dataclass(frozen=True)
class Errand:
    """One picture to translate; `target` has no suffix yet where the output's format is not known before."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Failure:
    """A picture that has no output, and why."""

    source: Path
    reason: str


def errands(inputs: Sequence[Path], out: Path) -> list[Errand]:
    """What is to be done: a single file goes to `out` itself where that names a picture file, all else under it.

    Folders are searched whole, and keep their shape under `out`. InvalidParameter when an input is missing, when there
    is no picture at all, or when two would go to the same file.
    """
    if missing := [path for path in inputs if not path.exists()]:
        raise InvalidParameter(f"there is no file or folder {missing[0]}")
    if len(inputs) == 1 and inputs[0].is_file() and by_extension(out.suffix) and not out.is_dir():
        return [Errand(inputs[0], out)]
    found = [errand for path in inputs for errand in _within(path, out)]
    if not found:
        raise InvalidParameter(f"there are no pictures in {', '.join(map(str, inputs))}")
    targets = [errand.target for errand in found]
    if twice := next((target for target in targets if targets.count(target) > 1), None):
        raise InvalidParameter(f"two pictures would be written to {twice}; translate them to different folders")
    return found


async def translate_files(
    errands: Sequence[Errand], wish: Wish, store: Store, advance: Callable[[int], None]
) -> list[Failure]:
    """Carries the errands out, some at a time, each output written atomically; `advance` is told how many are done.

    What fails for every picture alike (an unknown domain, a model that can't be loaded) is raised, not collected.
    """
    settings = EngineSettings()
    translator = Embedded(Library(store, settings), settings)
    pipeline = Pipeline(store, translator, Limits(), threads=settings.threads)
    failures: list[Failure] = []
    waiting = iter(errands)
    done = 0

    async def work() -> None:
        nonlocal done
        for errand in waiting:
            try:
                await _carry_out(errand, wish, pipeline)
            except (RecastError, EngineError, OSError) as error:
                if isinstance(error, RecastError) and error.code in _ALIKE:
                    raise
                failures.append(Failure(errand.source, str(error)))
            done += 1
            advance(done)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(work())
    except* RecastError as errors:
        raise _first(errors) from None
    finally:
        pipeline.close()
        await translator.close()
    return failures


_ALIKE = {"unknown-domain", "invalid-domains", "unknown-model", "not-ready", "invalid-parameter"}


def _first(errors: BaseExceptionGroup[RecastError]) -> RecastError:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _within(path: Path, out: Path) -> list[Errand]:
    if path.is_file():
        return [Errand(path, out / path.stem)]
    files = (file for file in sorted(path.rglob("*")) if file.is_file() and by_extension(file.suffix))
    return [Errand(file, out / file.relative_to(path).with_suffix("")) for file in files]


async def _carry_out(errand: Errand, wish: Wish, pipeline: Pipeline) -> None:
    content = await asyncio.to_thread(errand.source.read_bytes)
    wanted = by_extension(errand.target.suffix)
    if wanted and wish.format is None:
        # The file's suffix says the format; the pipeline refuses one that is not written.
        wish = wish.model_copy(update={"format": wanted.name})
    answer = await pipeline.translate(content, wish, deadline=time.monotonic() + _PATIENCE_S)
    target = errand.target if wanted else errand.target.with_name(errand.target.name + answer.format.extensions[0])
    await asyncio.to_thread(_write, target, answer.data)


def _write(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.part")
    beside.write_bytes(content)
    os.replace(beside, target)
