"""Reads a bundle's folder and writes it atomically, on POSIX; `read` hashes every byte unless `verify` is False."""

import fcntl
import hashlib
import io
import logging
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from models.bundle.manifest import MANIFEST_FILE, Manifest

MAX_MANIFEST_BYTES = 1 << 20
"""`read` refuses a larger bundle.json without parsing it."""

ASIDE_PREFIX = ".old-bundle-"
"""Prefix of the folder where the old bundle lies for the instant of its replacement."""

_CHUNK = 1 << 20
_TRIES = 5
_NEW = ".tmp-bundle-"

_log = logging.getLogger(__name__)


class BundleError(ValueError):
    """A bundle that can't be read or written; the message is one line without any path outside the bundle."""


@dataclass(frozen=True)
class Bundle:
    """A folder with the files that its manifest lists."""

    folder: Path
    manifest: Manifest

    def __hash__(self) -> int:
        # The generated one would hash the manifest, which holds dictionaries.
        return hash((self.folder, self.ref))

    @property
    def ref(self) -> str:
        """`name@version`."""
        return self.manifest.ref

    @property
    def name(self) -> str:
        """The manifest's name; the folder may have another."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """The manifest's version."""
        return self.manifest.version

    def path(self, file: str) -> Path:
        """The path of a file in the manifest. Raises BundleError for any other name, so untrusted names are safe."""
        if file not in self.manifest.files:
            raise BundleError(f"{self.ref} has no file {file!r}")
        return self.folder / file

    def graph(self, name: str) -> Path:
        """The path of a graph's ONNX file. Raises BundleError if there is no such graph."""
        if name not in self.manifest.graphs:
            raise BundleError(f"{self.ref} has no graph {name!r}; it has {', '.join(self.manifest.graphs)}")
        return self.path(self.manifest.graphs[name].file)

    def load(self, file: str) -> bytes:
        """The bytes of a file, hashed again: raises BundleError if the folder has been replaced since `read`."""
        self.path(file)
        content = io.BytesIO()
        with _plain_errors(self.ref), _open(self.folder, file) as source:
            digest = _copy(source, content)
        if digest != self.manifest.files[file]:
            raise BundleError(f"{self.ref}: {file} does not fit its SHA-256; the bundle was replaced or damaged")
        return content.getvalue()


def read(folder: Path, *, verify: bool = True) -> Bundle:
    """The bundle in `folder`; `verify` False skips the hashes, but checks the schema and that the files exist.

    Raises BundleError. If a writer replaces the folder meanwhile, it is read again; the hashes exclude a mixture.
    """
    for _ in range(_TRIES):
        before = identity(folder)
        try:
            return _read_once(folder, verify)
        except BundleError:
            if identity(folder) == before:
                raise
    raise BundleError(f"{folder.name}: replaced {_TRIES} times during the read; try again")


def write(folder: Path, manifest: Manifest, files: Mapping[str, bytes | Path]) -> Bundle:
    """Write a bundle of these files (relative path to content or source), replacing an old one.

    The hashes come from the content; the manifest's own `files` are ignored. A kill leaves the old bundle or the new
    one; between two renames the old one lies aside until `recover` or the next write puts it back. Writers in one
    parent folder take turns. Raises BundleError if anything is wrong, and then changes nothing.
    """
    if not folder.name or folder.name.startswith("."):
        raise BundleError(f"{str(folder)!r}: a bundle's folder needs a name without a leading dot")
    # A rename onto a link would replace the link, and leave the bundle that it leads to.
    folder = folder.resolve() if folder.is_symlink() else folder
    with _plain_errors(folder.name):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _turn(folder.parent, wait=True):
            for entry in sorted(folder.parent.iterdir()):  # what a killed writer left
                replaced = entry.name.startswith(ASIDE_PREFIX) and not _put_back(entry)
                if replaced or entry.name.startswith(_NEW):
                    _discard(entry)
            if folder.exists() and not folder.is_dir():
                raise BundleError(f"{folder.name}: is a file and not a folder; remove it or choose another name")
            if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST_FILE).is_file():
                raise BundleError(f"{folder.name}: holds files but no {MANIFEST_FILE}; empty it or choose another name")
            new = folder.with_name(_NEW + folder.name)
            try:
                complete = _fill(new, manifest, files)
                _swap(new, folder)
            finally:
                _discard(new)
    return Bundle(folder, complete)


def aside(folder: Path) -> Path:
    """Where the folder's old bundle lies for the instant of its replacement."""
    return folder.with_name(ASIDE_PREFIX + folder.name)


def recover(folder: Path) -> bool:
    """Put back a bundle whose writer was killed between its two renames; True if there was one.

    False if a writer is still at work, or there is nothing to put back. Raises BundleError if it may not write.
    """
    if folder.exists() or not aside(folder).exists():
        return False
    try:
        with _turn(folder.parent, wait=False):
            return _put_back(aside(folder))
    except BlockingIOError:
        return False
    except OSError as error:
        reason = f"its replacement was interrupted and can't be undone here ({error.strerror}); write it again"
        raise BundleError(f"{folder.name}: {reason}") from error


def identity(folder: Path) -> tuple[int, int, int] | None:
    """A value that changes when the folder is replaced; None without a folder."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _read_once(folder: Path, verify: bool) -> Bundle:
    with _plain_errors(folder.name):
        with _open(folder, MANIFEST_FILE) as source:
            content = source.read(MAX_MANIFEST_BYTES + 1)
        manifest = _parse(folder.name, content)
        _check_listed(folder.name, manifest)
        for file, expected in manifest.files.items():
            with _open(folder, file) as source:
                if verify and hashlib.file_digest(source, "sha256").hexdigest() != expected:
                    raise BundleError(f"{folder.name}: {file} does not fit its SHA-256; copy the bundle again")
    return Bundle(folder, manifest)


def _parse(name: str, content: bytes) -> Manifest:
    if len(content) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{name}: {MANIFEST_FILE} has more than {MAX_MANIFEST_BYTES} bytes")
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise BundleError(f"{name}: {MANIFEST_FILE}: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_context=False, include_input=False)
    where = ".".join(str(part) for part in details[0]["loc"])
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    message = details[0]["msg"].removeprefix("Value error, ")
    return " ".join(f"{where + ': ' if where else ''}{message}{more}".split())


def _check_listed(name: str, manifest: Manifest) -> None:
    needed = [graph.file for graph in manifest.graphs.values()] + [sample.file for sample in manifest.samples]
    for file in needed:
        if file not in manifest.files:
            raise BundleError(f"{name}: {file} is used by the manifest, but missing from its files")


@contextmanager
def _plain_errors(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # The name alone: the message reaches clients, and the path is the operator's.
        file = Path(error.filename).name if isinstance(error.filename, str | Path) else ""
        reason = error.strerror or "can't be read"
        raise BundleError(f"{name}: {file + ': ' if file else ''}{reason}") from error


def _open(folder: Path, file: str) -> io.BufferedReader:
    path = folder / file
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise BundleError(f"{folder.name}: {file} is a link that leaves the bundle")
    # Before it is opened, as opening a pipe would wait for a writer.
    if not stat.S_ISREG(path.stat().st_mode):
        raise BundleError(f"{folder.name}: {file} is not a plain file")
    return path.open("rb")


def _copy(source: BinaryIO, target: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()


@contextmanager
def _turn(parent: Path, *, wait: bool) -> Iterator[None]:
    # A lock on the folder itself leaves no file behind, and the system releases it when its holder is killed.
    descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def _put_back(old: Path) -> bool:
    folder = old.with_name(old.name.removeprefix(ASIDE_PREFIX))
    if folder.exists() or not old.exists():
        return False
    old.rename(folder)
    return True


def _fill(new: Path, manifest: Manifest, files: Mapping[str, bytes | Path]) -> Manifest:
    # A manifest with these names validates them before the first byte is written.
    complete = _with_files(manifest, dict.fromkeys(files, "0" * 64))
    new.mkdir()
    digests = {file: _put(new / file, content) for file, content in files.items()}
    try:
        text = _with_files(complete, digests).model_dump_json(indent=2).encode() + b"\n"
    except PydanticSerializationError as error:
        raise BundleError(f"{manifest.ref}: training facts must be plain JSON: {error}") from error
    complete = _parse(manifest.ref, text)
    _put(new / MANIFEST_FILE, text)
    for inner in (*(path for path in new.rglob("*") if path.is_dir()), new):
        _sync(inner)
    return complete


def _with_files(manifest: Manifest, digests: Mapping[str, str]) -> Manifest:
    try:
        complete = Manifest.model_validate(manifest.model_dump() | {"files": dict(digests)})
    except ValidationError as error:
        raise BundleError(f"{manifest.ref}: {_first(error)}") from error
    _check_listed(complete.ref, complete)
    return complete


def _put(path: Path, content: bytes | Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source, path.open("xb") as target:
        digest = _copy(source, target)
        target.flush()
        os.fsync(target.fileno())
    return digest


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _swap(new: Path, folder: Path) -> None:
    old = aside(folder)
    if folder.exists() and any(folder.iterdir()):
        folder.rename(old)
    try:
        new.rename(folder)
    except BaseException:
        _put_back(old)
        raise
    if old.exists():
        # Renamed before it is deleted, so that a folder under the name aside is always a whole bundle.
        old.rename(new)
    _sync(folder.parent)


def _discard(folder: Path) -> None:
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError:
        _log.warning("could not delete %s; the next write tries again", folder.name, exc_info=True)
