"""The request of each call and the reading of its answer; nothing here uses the network.

Pictures travel as multipart/form-data and not as a ZIP: the service stores each as it comes, without a second pass or
room for an archive, and it knows the length at once, so that it can refuse a long upload before it is sent.
"""

import json
import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx

from service.client import values
from service.client.values import InputError, Job, Model, Page, Translated, foreign, refusal
from worker.wish import Wish

Value = TypeVar("Value")
Query = dict[str, str | list[str]]
WishLike = Wish | str | Sequence[str]
"""A wish, or only its domain expressions."""

_ACCEPTING_S = 300.0  # after the last byte, the service needs a while to accept many thousand pictures
_BETWEEN_EVENTS_S = 35.0  # the service sends at least a comment every 10 s
_SUFFIXES = ".jpg .jpeg .jpe .jfif .png .apng .webp .avif .gif .bmp .dib .tif .tiff"
SUFFIXES = frozenset(_SUFFIXES.split())
"""Suffixes of the files that `gather` takes from folders; it takes a named file whatever its suffix."""

Sending = Callable[[int, int], None]
"""Called with the number of sent pictures and of sent bytes."""

_PIECE = 1 << 18  # bytes that are read from a file at once


@dataclass(frozen=True)
class Stored:
    """A folder of pictures in the service's own storage, in place of pictures to send."""

    source: str
    """`ROOT` or `ROOT/FOLDER`, with a root of the service's RECAST_ROOTS."""
    destination: str | None = None
    """`ROOT` or `ROOT/FOLDER` for the results; None: they are kept with the job."""


def gather(paths: Path | Iterable[Path]) -> dict[str, Path]:
    """The pictures of files and folders, by the names under which they are sent; sub-folders are part of the name.

    InputError if a path is missing, if there is no picture, or if two have the same name.
    """
    named = [paths] if isinstance(paths, Path) else list(paths)
    if missing := [path for path in named if not path.exists()]:
        raise InputError(f"there is no file or folder {missing[0]}")
    found: dict[str, Path] = {}
    for path in named:
        files = {path.name: path}
        if not path.is_file():
            below = (file for file in sorted(path.rglob("*")) if file.suffix.lower() in SUFFIXES and file.is_file())
            files = {file.relative_to(path).as_posix(): file for file in below}
        for name, file in files.items():
            if name in found:
                raise InputError(f"{found[name]} and {file} would both be sent as {name}; send them as two jobs")
            found[name] = file
    if not found:
        raise InputError(f"there are no pictures in {', '.join(map(str, named)) or 'nothing'}")
    return found


class Form:
    """The body of one job, which can be sent several times; one file is open at a time."""

    def __init__(self, pictures: Mapping[str, Path | bytes], on_progress: Sending | None = None) -> None:
        """Reads the length of every file; InputError if one can't be read."""
        self._parts: list[tuple[bytes, Path | bytes, int]] = []
        for name, picture in pictures.items():
            # Quoted as browsers do it (WHATWG HTML, multipart/form-data): a line break would end the header.
            quoted = name.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "%0D").replace("\n", "%0A")
            head = f'Content-Disposition: form-data; name="images"; filename="{quoted}"\r\n'
            head += "Content-Type: application/octet-stream\r\n\r\n"
            self._parts.append((head.encode(errors="replace"), picture, _length(picture)))
        self._on_progress = on_progress
        self._stop = threading.Event()
        self._boundary = f"recast-{uuid.uuid4().hex}".encode()
        self.content_type = f"multipart/form-data; boundary={self._boundary.decode()}"
        around = len(self._boundary) + 4  # "--" before it, and a line break or "--" after it
        self.length = sum(around + len(head) + length + 2 for head, _, length in self._parts) + around + 2
        """Bytes of the whole body."""

    def body(self) -> Iterator[bytes]:
        """The bytes from the start; InputError if the length of a file has changed."""
        sent = 0
        for number, (head, picture, length) in enumerate(self._parts):
            yield b"--" + self._boundary + b"\r\n" + head
            for piece in _pieces(picture, length):
                # The error breaks the connection, so that the service accepts nothing.
                if self._stop.is_set():
                    raise InputError("the upload was stopped")
                yield piece
                sent += len(piece)
                self._tell(number, sent)
            yield b"\r\n"
            self._tell(number + 1, sent)
        yield b"--" + self._boundary + b"--\r\n"

    def stop(self) -> None:
        """Ends an upload that runs in another thread."""
        self._stop.set()

    def _tell(self, pictures: int, sent: int) -> None:
        if self._on_progress:
            self._on_progress(pictures, sent)


@dataclass(frozen=True)
class Call(Generic[Value]):
    """A request, and how to read the answer."""

    method: str
    path: str
    read: Callable[[httpx.Response], Value]
    """Reads the answer; KeyError, TypeError or ValueError if it is no answer to this call."""
    query: Query = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Form | None = None
    again: bool = True
    """Whether it may be sent again if the service may have received it."""
    silence: float | None = None
    """Seconds without a byte from the service after which the call fails; None: the client's timeout."""

    def value(self, response: httpx.Response) -> Value:
        """The value of a response whose body has been read; raises the error that it stands for."""
        if not response.is_success:
            raise refusal(response)
        try:
            return self.read(response)
        except (KeyError, TypeError, ValueError):
            raise foreign(response) from None


def translate(picture: bytes, wish: WishLike) -> Call[Translated]:
    """One picture. It is not sent again after the connection broke, since it may be what broke the service."""

    def read(response: httpx.Response) -> Translated:
        answer = response.headers
        return Translated(
            response.content,
            answer["Content-Type"],
            answer["Recast-Model"],
            {name: float(value) for name, value in _pairs(answer["Recast-Domains"], "=")},
            {name: float(value) for name, value in _pairs(answer.get("Server-Timing", ""), ";dur=")},
        )

    headers = {"Content-Type": "application/octet-stream"}
    return Call("POST", "/translate", read, _query(wish), headers, picture, again=False)


def submit(what: Form | Stored, wish: WishLike, webhook: str | None, key: str | None) -> Call[Job]:
    """A job; its Idempotency-Key makes the service answer with the same job if it is sent again."""
    query = _query(wish) | ({} if webhook is None else {"webhook": webhook})
    headers = {"Idempotency-Key": key or uuid.uuid4().hex}
    body: bytes | Form
    if isinstance(what, Form):
        headers |= {"Content-Type": what.content_type, "Content-Length": str(what.length)}
        body = what
    else:
        folders = {"source": what.source, "destination": what.destination}
        body = json.dumps({name: folder for name, folder in folders.items() if folder is not None}).encode()
        headers |= {"Content-Type": "application/json"}
    return Call("POST", "/jobs", _job, query, headers, body, silence=_ACCEPTING_S)


def find(key: str) -> Call[Job | None]:
    """The job that was submitted with an Idempotency-Key."""

    def only(response: httpx.Response) -> Job | None:
        return next((values.job(each) for each in response.json()["jobs"]), None)

    return Call("GET", "/jobs", only, {"idempotency_key": key})


def job(job_id: str) -> Call[Job]:
    """One job, with its failures."""
    return Call("GET", _job_path(job_id), _job)


def jobs(limit: int, before: str | None) -> Call[list[Job]]:
    """Jobs, the newest first."""
    query: Query = {"limit": str(limit)}
    if before is not None:
        query["before"] = before
    return Call("GET", "/jobs", lambda response: [values.job(each) for each in response.json()["jobs"]], query)


def cancel(job_id: str) -> Call[Job]:
    """Cancels a job; finished pictures stay."""
    return Call("DELETE", _job_path(job_id), _job)


def events(job_id: str, last_id: str | None) -> Call[None]:
    """The stream of a job's progress, after the event of that id."""
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    if last_id is not None:
        headers["Last-Event-ID"] = last_id
    return Call("GET", f"{_job_path(job_id)}/events", _nothing, headers=headers, silence=_BETWEEN_EVENTS_S)


def pictures(job_id: str, after: int) -> Call[Page]:
    """The results and failures of a job's finished pictures, a page from `after` on."""
    return Call(
        "GET", f"{_job_path(job_id)}/pictures", lambda response: values.page(response.json()), {"after": str(after)}
    )


def result(job_id: str, name: str) -> Call[None]:
    """One result, whose body is streamed."""
    return Call("GET", f"{_job_path(job_id)}/results/{quote(name)}", _nothing)


def models() -> Call[list[Model]]:
    """Every bundle, in the order of rank."""
    return Call("GET", "/models", lambda response: [values.model(each) for each in response.json()["models"]])


def domains() -> Call[dict[str, tuple[str, ...]]]:
    """Every domain, and the bundles that know it."""

    def read(response: httpx.Response) -> dict[str, tuple[str, ...]]:
        return {each["name"]: tuple(each["models"]) for each in response.json()["domains"]}

    return Call("GET", "/domains", read)


def _query(wish: WishLike) -> Query:
    if not isinstance(wish, Wish):
        wish = Wish(domains=(wish,) if isinstance(wish, str) else tuple(wish))
    # Defaults are left out, so that a newer client can ask an older service, which refuses unknown parameters.
    members = wish.model_dump(mode="json", exclude_defaults=True)
    return {name: value if isinstance(value, list) else str(value) for name, value in members.items()}


def _job_path(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}"


def _job(response: httpx.Response) -> Job:
    return values.job(response.json())


def _nothing(response: httpx.Response) -> None:
    """Nothing: the caller reads the body piece by piece."""


def _pairs(listed: str, sign: str) -> list[tuple[str, str]]:
    """`a=0, b=1` as pairs."""
    parts: list[Any] = [part.strip().rpartition(sign) for part in listed.split(",") if sign in part]
    return [(name, value) for name, _, value in parts]


def _length(picture: Path | bytes) -> int:
    if isinstance(picture, bytes):
        return len(picture)
    try:
        length = picture.stat().st_size
    except OSError as error:
        raise InputError(f"{picture} can't be read: {error.strerror}") from None
    if not os.access(picture, os.R_OK):
        raise InputError(f"{picture} can't be read: permission is denied")
    return length


def _pieces(picture: Path | bytes, length: int) -> Iterator[bytes]:
    if isinstance(picture, bytes):
        yield picture
        return
    try:
        with picture.open("rb") as file:
            left = length
            while left and (piece := file.read(min(left, _PIECE))):
                left -= len(piece)
                yield piece
    except OSError as error:
        raise InputError(f"{picture} can't be read: {error.strerror}") from None
    if left or picture.stat().st_size != length:
        raise InputError(f"{picture} changed while it was sent, and the service accepted nothing; send it again")
