"""What travels through Redis between service and worker: an order out, its outputs or an error back, as bytes.

A parcel is the length of its label in four bytes, the label in msgpack, and the bytes of its arrays, which are copied
as rarely as possible: at thousands of pictures a second, copies are the main cost. It comes from our own processes, but
through a place that others may write to: anything that does not fit is a ParcelError.
"""

import math
from collections.abc import Sequence
from typing import Any

import msgpack
import numpy as np

from worker.errors import EngineError, NotReady, Overloaded, TimedOut
from worker.translator import Array, Arrays, Done, Order

FORMAT = 2
"""The version of this format: a service and a worker of different versions refuse each other's parcels by it."""

_ERRORS = {error.code: error for error in (NotReady, Overloaded, TimedOut)}
_ENGINE = "engine"
_LENGTH = 4
_TYPES = ("|u1", "<f4")


class ParcelError(ValueError):
    """Bytes that are not one of our parcels."""


def pack_order(order: Order) -> bytes:
    """An order as bytes, without its deadline: Redis keeps the time that is left."""
    return _pack([order.bundle, order.graph, order.request_id, order.trace], order.inputs)


def read_order(data: bytes, *, deadline: float) -> Order:
    """An order from bytes, with read-only arrays; raises ParcelError."""
    try:
        (bundle, graph, request_id, trace), inputs = _read(data)
        if not isinstance(bundle, str) or not isinstance(graph, str):
            raise ParcelError(f"an order of bundle {bundle!r}, graph {graph!r}")
        if not isinstance(request_id, str | None) or not isinstance(trace, str | None):
            raise ParcelError(f"an order of request {request_id!r}, trace {trace!r}")
        return Order(bundle, graph, inputs, deadline, request_id=request_id, trace=trace)
    except (ValueError, TypeError) as error:
        raise ParcelError(f"{len(data)} bytes are no order: {error}") from error


def pack_reply(reply: Done | BaseException) -> bytes:
    """A reply as bytes; of an error that Translator does not name only the class, since its text may hold paths."""
    if isinstance(reply, Done):
        return _pack([None, reply.queue_s, reply.infer_s], reply.outputs)
    if isinstance(reply, (NotReady, Overloaded, TimedOut)):
        return _pack([reply.code, str(reply), reply.retry_after], {})
    text = str(reply) if isinstance(reply, EngineError | ParcelError) else f"unexpected {type(reply).__name__}"
    return _pack([_ENGINE, text, None], {})


def read_reply(data: bytes) -> Done | Exception:
    """A reply from bytes: outputs, or the error to raise; raises ParcelError."""
    try:
        (code, first, second), outputs = _read(data)
        if code is None:
            if not outputs:
                raise ParcelError("a reply without outputs")
            # Copied, so that callers may write to them.
            return Done({kind: array.copy() for kind, array in outputs.items()}, float(first), float(second))
        if code == _ENGINE:
            return EngineError(str(first))
        return _ERRORS[code](str(first), retry_after=None if second is None else float(second))
    except (ValueError, TypeError, LookupError) as error:
        raise ParcelError(f"{len(data)} bytes are no reply: {error}") from error


def _pack(label: Sequence[object], arrays: Arrays) -> bytes:
    shapes = [[kind, array.dtype.str, array.shape] for kind, array in arrays.items()]
    packed = msgpack.packb([FORMAT, label, shapes])
    contents = [np.ascontiguousarray(array).data for array in arrays.values()]
    return b"".join([len(packed).to_bytes(_LENGTH), packed, *contents])


def _read(data: bytes) -> tuple[list[Any], dict[str, Array]]:
    """The label and the arrays, which lie in `data`; raises ValueError or TypeError."""
    start = _LENGTH + int.from_bytes(data[:_LENGTH])
    version, *content = msgpack.unpackb(data[_LENGTH:start])
    if version != FORMAT:
        raise ParcelError(
            f"they have format {version!r:.20}, and this process reads {FORMAT}; run service and workers of one version"
        )
    label, shapes = content
    arrays: dict[str, Array] = {}
    for kind, dtype, sides in shapes:
        if not isinstance(kind, str) or dtype not in _TYPES:
            raise ParcelError(f"an array {kind!r} of {dtype!r}")
        count = math.prod(sides)
        array = np.frombuffer(data, dtype, count, start) if count else np.empty(0, dtype)
        arrays[kind] = array.reshape(sides)
        start += array.nbytes
    return label, arrays
