"""What travels through Redis between service and worker, in msgpack: raw pixels out, pixels or an error back.

It comes from our own processes, but through a place that others may write to: whatever does not fit is a ParcelError.
"""

from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from worker.errors import EngineError, NotReady, Overloaded, TimedOut

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

_ERRORS = {error.code: error for error in (NotReady, Overloaded, TimedOut)}
_ENGINE = "engine"


class ParcelError(ValueError):
    """Bytes that are no parcel of ours."""


@dataclass(frozen=True, eq=False)
class Request:
    """What one call of a Translator asks for."""

    bundle: str
    """`name@version`."""
    graph: str | None
    """None: classify."""
    pixels: Pixels
    """uint8 [n,h,w,3]."""
    labels: Floats | None
    """float32 [n,c]."""
    request_id: str | None = None
    """Of the HTTP request that it is a part of, for the log."""
    trace: str | None = None
    """The traceparent of the span that it is a part of."""


@dataclass(frozen=True, eq=False)
class Reply:
    """What came of it: uint8 pixels [n,h,w,3] or float32 probabilities [n,c], and the seconds it waited and took."""

    rows: NDArray[Any]
    queue_s: float
    infer_s: float


def pack_request(request: Request) -> bytes:
    """A request as bytes."""
    pixels, labels = _array(request.pixels), _array(request.labels)
    return _pack([request.bundle, request.graph, pixels, labels, request.request_id, request.trace])


def read_request(data: bytes) -> Request:
    """A request from bytes; raises ParcelError."""
    try:
        bundle, graph, pixels, labels, *origin = msgpack.unpackb(data)
        read = _read_array(pixels)
        if not isinstance(bundle, str) or not all(isinstance(word, str | None) for word in (graph, *origin)):
            raise ParcelError(f"a request of {bundle!r}, {graph!r}")
        if read is None:
            raise ParcelError("a request without pixels")
        return Request(bundle, graph, read, _read_array(labels), *origin)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ParcelError(f"{len(data)} bytes are no request: {error}") from error


def pack_reply(reply: Reply | BaseException) -> bytes:
    """A reply as bytes; of an error that Translator does not name only the kind goes out."""
    if isinstance(reply, Reply):
        return _pack([None, _array(reply.rows), reply.queue_s, reply.infer_s])
    if isinstance(reply, (NotReady, Overloaded, TimedOut)):
        return _pack([reply.code, str(reply), reply.retry_after])
    return _pack(
        [_ENGINE, str(reply) if isinstance(reply, EngineError) else f"unexpected {type(reply).__name__}", None]
    )


def read_reply(data: bytes) -> Reply | Exception:
    """A reply from bytes: what was computed, or the error to raise; raises ParcelError."""
    try:
        code, first, *rest = msgpack.unpackb(data)
        if code is None:
            rows = _read_array(first)
            if rows is None:
                raise ParcelError("a reply without rows")
            return Reply(rows.copy(), float(rest[0]), float(rest[1]))  # else it could not be written to
        if code == _ENGINE:
            return EngineError(str(first))
        return _ERRORS[code](str(first), retry_after=rest[0])
    except (ValueError, TypeError, LookupError, msgpack.UnpackException) as error:
        raise ParcelError(f"{len(data)} bytes are no reply: {error}") from error


def _pack(value: object) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed


def _array(array: NDArray[Any] | None) -> list[object] | None:
    return None if array is None else [array.dtype.str, array.shape, array.tobytes()]


def _read_array(value: Any) -> NDArray[Any] | None:
    if value is None:
        return None
    dtype, shape, data = value
    if dtype not in ("|u1", "<f4"):
        raise ParcelError(f"an array of {dtype!r}")
    return np.frombuffer(data, dtype).reshape(shape)
