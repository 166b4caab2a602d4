"""Storage for what must not be lost: a folder on this disk, or a bucket of S3, Google Cloud or Azure.

A put is atomic: a reader sees a whole object or none, also if the writing process is killed.
"""

import asyncio
import logging
import re
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, InvalidPathError
from obstore.store import LocalStore, ObjectStore, from_url

from worker.errors import InvalidParameter, NotReady

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

RETRY_S = 10.0
"""What Retry-After says when the storage does not answer, seconds."""

# Give up an unreachable bucket within seconds. But a whole answer may take long: a client may read a large result
# slowly. An endpoint with http:// is meant to have no TLS.
_CLIENT: "ClientConfig" = {"connect_timeout": "3s", "read_timeout": "15s", "timeout": "1h", "allow_http": True}
_RETRIES: "RetryConfig" = {"max_retries": 2, "retry_timeout": timedelta(seconds=10)}
# No object can have this path: it leads through a file, or is too long.
_IMPOSSIBLE = re.compile(r"os error (20|36|63)\)|KeyTooLong")
_PAGE = 1000  # objects
_PIECE = 1024 * 1024  # bytes
_log = logging.getLogger(__name__)


class StorageError(NotReady):
    """The storage can't be reached, or is full; only the log has the reason, since strangers see the message."""


@dataclass(frozen=True)
class Stored:
    """An object: its path, its size in bytes, and when it was put."""

    path: str
    size: int
    put_at: datetime


class Storage:
    """Objects by path, as `jobs/ID/job.json`; every method raises StorageError if the storage fails."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def put(self, path: str, data: bytes, *, new: bool = False) -> bool:
        """Stores a whole object and returns True; with `new`, an object that exists stays, and False is returned."""
        try:
            await obstore.put_async(self._store, path, data, mode="create" if new else "overwrite")
        except AlreadyExistsError:
            return False
        except (BaseError, OSError) as error:
            raise _error("write", error) from error
        return True

    async def get(self, path: str) -> bytes | None:
        """The whole object; None where there is none."""
        found = await self._find(path)
        if found is None:
            return None
        try:
            return (await found.bytes_async()).to_bytes()
        except (BaseError, OSError) as error:
            raise _error("read", error) from error

    async def stream(self, path: str) -> AsyncIterator[bytes] | None:
        """The object piece by piece, never whole in memory; None where there is none."""
        found = await self._find(path)
        return None if found is None else _pieces(found)

    async def has(self, path: str) -> bool:
        """Whether there is such an object."""
        return await self._find(path, head=True) is not None

    async def list(self, folder: str) -> AsyncIterator[Stored]:
        """Every object below a folder (`""`: all of them), in no particular order.

        InvalidParameter if another program stored one whose name can't be read here, such as `a//b`.
        """
        try:
            async for page in obstore.list(self._store, folder or None, chunk_size=_PAGE):
                for each in page:
                    yield Stored(each["path"], each["size"], each["last_modified"])
        except FileNotFoundError:
            return
        except InvalidPathError as error:
            raise InvalidParameter(f"{_first_line(error)}; rename it") from None
        except (BaseError, OSError) as error:
            raise _error("read", error) from error

    async def folders(self, folder: str) -> Sequence[str]:
        """The names of the folders directly in a folder, sorted."""
        try:
            found = await obstore.list_with_delimiter_async(self._store, folder)
        except FileNotFoundError:
            return []
        except (BaseError, OSError) as error:
            raise _error("read", error) from error
        return sorted(path.rpartition("/")[2] for path in found["common_prefixes"])

    async def delete(self, path: str) -> None:
        """Removes an object, if it exists."""
        await self._delete([path])

    async def clear(self, folder: str) -> None:
        """Removes every object below a folder, and the remains of killed puts."""
        if isinstance(self._store, LocalStore) and self._store.prefix is not None:
            # A listing hides the temporary files of killed puts, so a folder on a disk is removed as a whole.
            await asyncio.to_thread(_remove, self._store.prefix, folder)
            return
        page = []
        async for stored in self.list(folder):
            page.append(stored.path)
            if len(page) == _PAGE:
                await self._delete(page)
                page.clear()
        await self._delete(page)

    async def _find(self, path: str, *, head: bool = False) -> "obstore.GetResult | None":
        try:
            return await obstore.get_async(self._store, path, options={"head": head})
        except (FileNotFoundError, ValueError):  # ValueError: a name that no object can have, such as `..`
            return None
        except (BaseError, OSError) as error:
            if _IMPOSSIBLE.search(str(error)):
                return None
            raise _error("read", error) from error

    async def _delete(self, paths: Sequence[str]) -> None:
        try:
            await obstore.delete_async(self._store, paths)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise _error("write", error) from error


def open_storage(where: str) -> Storage:
    """The storage at a folder's path, or at a URL as `s3://bucket/folder`; credentials come from the environment.

    Makes the folder if it does not exist. Raises StorageError for a URL that can't be used here.
    """
    try:
        if "://" not in where:
            return Storage(LocalStore(Path(where).absolute(), mkdir=True))
        return Storage(from_url(where, client_options=_CLIENT, retry_config=_RETRIES))
    except (BaseError, OSError, ValueError) as error:
        raise StorageError(f"the storage {where!r} can't be opened: {_first_line(error)}") from error


async def _pieces(found: "obstore.GetResult") -> AsyncIterator[bytes]:
    try:
        async for piece in found.stream(min_chunk_size=_PIECE):
            yield bytes(piece)
    except (BaseError, OSError) as error:
        raise _error("read", error) from error


def _remove(top: Path, folder: str) -> None:
    """Removes a folder, then the empty ones above it; not the topmost of its path, where other jobs come and go."""
    if folder in ("", ".") or ".." in Path(folder).parts:
        raise ValueError(f"{folder!r} is not a folder in the storage")
    gone = top / folder
    try:
        shutil.rmtree(gone)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _error("write", error) from error
    with suppress(OSError):
        for above in list(gone.parents)[: len(Path(folder).parts) - 2]:
            above.rmdir()


def _error(doing: str, error: Exception) -> StorageError:
    _log.error("the storage failed to %s: %s", doing, _first_line(error))
    return StorageError(f"the storage of jobs can't {doing} at the moment", retry_after=RETRY_S)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
