"""Writes the files of a drawn data set: the folder whole or not at all, the pictures on all processors."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models.errors import OptionsError

Notify = Callable[[int, int], None]
"""Called with the number of finished pictures, and the number of all."""


def check_options(count: int, size: int, sizes: range) -> None:
    """OptionsError for a count below 1 or a size outside the range."""
    if count < 1:
        raise OptionsError(f"count is {count}; ask for at least 1 picture")
    if size not in sizes:
        raise OptionsError(f"size is {size}; choose a side of {sizes.start} to {sizes.stop - 1} pixels")


@contextmanager
def atomic_folder(out: Path) -> Iterator[Path]:
    """A folder to write into, which is renamed to `out` at the end, or removed when writing fails.

    FileExistsError when `out` exists and is not an empty folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} exists and is not an empty folder; choose another, or remove it first")
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".tmp-{out.name}-", dir=out.parent))
    try:
        staging.chmod(0o755)  # mkdtemp lets only the owner read
        yield staging
        if out.exists():
            out.rmdir()
        staging.rename(out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def run_parallel(work: Callable[[int], int], tasks: int, total: int, notify: Notify) -> None:
    """Calls `work` with 0 to `tasks` - 1, in as many processes as there are processors.

    `work` must be picklable, and returns how many pictures it wrote, of `total` in all.
    """
    finished = 0
    workers = min(os.cpu_count() or 1, tasks)
    # Not multiprocessing.Pool: its terminate() hung while workers were busy. And spawn: a fork copies the locks of
    # threads (PyTorch, OpenMP) without the threads that would release them.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        try:
            for written in pool.map(work, range(tasks), chunksize=max(1, min(16, tasks // workers))):
                finished += written
                notify(finished, total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def part_of(index: int, count: int) -> int:
    """0 train, 1 validation, 2 test: the last tenth is the test part, the tenth before it validation."""
    tenth = count // 10
    return 2 if index >= count - tenth else 1 if index >= count - 2 * tenth else 0


def write_celeba(
    folder: Path, name: str, columns: tuple[str, ...], domains: str, labels: list[tuple[int, ...]]
) -> None:
    """Writes the tables of CelebA's layout for pictures named by `file_name`; labels are 0 or 1, one a column."""
    count = len(labels)
    rows = [f"{file_name(i)} {' '.join(f'{2 * label - 1:2d}' for label in row)}" for i, row in enumerate(labels)]
    write_lines(folder / f"list_attr_{name}.txt", str(count), " ".join(columns), *rows)
    write_lines(folder / "list_eval_partition.txt", *(f"{file_name(i)} {part_of(i, count)}" for i in range(count)))
    write_lines(folder / "domains.txt", domains)


def file_name(index: int) -> str:
    """The file name of the picture with this index; files count from 1."""
    return f"{index + 1:06d}.png"


def write_facts(folder: Path, generator: str, version: int, facts: Mapping[str, Any]) -> None:
    """Writes GENERATOR.json for `read_facts`."""
    write_lines(folder / f"{generator}.json", json.dumps({"generator": generator, "version": version, **facts}))


def read_facts(folder: Path, generator: str, version: int) -> dict[str, Any] | None:
    """The facts of a set; None if the folder has no set of this generator and version."""
    file = folder / f"{generator}.json"
    if not file.is_file():
        return None
    stored: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if (stored.pop("generator", None), stored.pop("version", None)) != (generator, version):
        return None
    return stored


def write_lines(file: Path, *lines: str) -> None:
    """Writes a text file whose lines end with a line feed on every system."""
    file.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
