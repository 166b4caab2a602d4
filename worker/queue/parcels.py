"""What travels through Redis between service and worker: raw pixels out, pixels or an error back.

A parcel is the length of its label in four bytes, the label in msgpack, and the bytes of its arrays, which are copied
as seldom as can be: at thousands of pictures a second that is what counts. It comes from our own processes, but
through a place that others may write to: whatever does not fit is a ParcelError.
"""

import math
from collections.abc import Sequence
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
_LENGTH = 4


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
    label = [request.bundle, request.graph, request.request_id, request.trace]
    return _pack(label, request.pixels, request.labels)


def read_request(data: bytes) -> Request:
    """A request from bytes, whose arrays can't be written to; raises ParcelError."""
    try:
        (bundle, graph, *origin), (pixels, labels) = _read(data)
        if not isinstance(bundle, str) or not all(isinstance(word, str | None) for word in (graph, *origin)):
            raise ParcelError(f"a request of {bundle!r}, {graph!r}")
        if pixels is None:
            raise ParcelError("a request without pixels")
        return Request(bundle, graph, pixels, labels, *origin)
    except (ValueError, TypeError) as error:
        raise ParcelError(f"{len(data)} bytes are no request: {error}") from error


def pack_reply(reply: Reply | BaseException) -> bytes:
    """A reply as bytes; of an error that Translator does not name only the kind goes out."""
    if isinstance(reply, Reply):
        return _pack([None, reply.queue_s, reply.infer_s], reply.rows)
    if isinstance(reply, (NotReady, Overloaded, TimedOut)):
        return _pack([reply.code, str(reply), reply.retry_after])
    text = str(reply) if isinstance(reply, EngineError) else f"unexpected {type(reply).__name__}"
    return _pack([_ENGINE, text, None])


def read_reply(data: bytes) -> Reply | Exception:
    """A reply from bytes: what was computed, or the error to raise; raises ParcelError."""
    try:
        (code, first, second), arrays = _read(data)
        if code is None:
            (rows,) = arrays
            if rows is None:
                raise ParcelError("a reply without rows")
            return Reply(rows.copy(), float(first), float(second))
        if code == _ENGINE:
            return EngineError(str(first))
        return _ERRORS[code](str(first), retry_after=None if second is None else float(second))
    except (ValueError, TypeError, LookupError) as error:
        raise ParcelError(f"{len(data)} bytes are no reply: {error}") from error


def _pack(label: Sequence[object], *arrays: NDArray[Any] | None) -> bytes:
    shapes = [None if array is None else [array.dtype.str, array.shape] for array in arrays]
    packed = msgpack.packb([label, shapes])
    contents = [np.ascontiguousarray(array).data for array in arrays if array is not None]
    return b"".join([len(packed).to_bytes(_LENGTH), packed, *contents])


def _read(data: bytes) -> tuple[list[Any], list[NDArray[Any] | None]]:
    """The label and the arrays, which lie in `data`; raises ValueError or TypeError."""
    start = _LENGTH + int.from_bytes(data[:_LENGTH])
    label, shapes = msgpack.unpackb(data[_LENGTH:start])
    arrays: list[NDArray[Any] | None] = []
    for shape in shapes:
        if shape is None:
            arrays.append(None)
            continue
        dtype, sides = shape
        if dtype not in ("|u1", "<f4"):
            raise ParcelError(f"an array of {dtype!r}")
        count = math.prod(sides)
        array = np.frombuffer(data, dtype, count, start) if count else np.empty(0, dtype)
        arrays.append(array.reshape(sides))
        start += array.nbytes
    return label, arrays
