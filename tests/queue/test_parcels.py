"""What travels between service and worker comes out as it went in, and what is none of ours is refused."""

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import EngineError, NotReady, Overloaded, TimedOut
from worker.queue.parcels import ParcelError, Reply, Request, pack_reply, pack_request, read_reply, read_request

PIXELS = np.arange(2 * 4 * 3 * 3, dtype=np.uint8).reshape(2, 4, 3, 3)
LABELS = np.linspace(-1, 2, 10, dtype=np.float32).reshape(2, 5)


@pytest.mark.parametrize("labels", [None, LABELS])
@pytest.mark.parametrize("graph", [None, "generator"])
def test_a_request_arrives_as_it_was(graph: str | None, labels: np.ndarray | None) -> None:
    """Bundle, graph, pixels and labels are the same on the other side, to the bit."""
    read = read_request(pack_request(Request("toy@1", graph, PIXELS, labels)))
    assert (read.bundle, read.graph) == ("toy@1", graph)
    np.testing.assert_array_equal(read.pixels, PIXELS)
    assert (read.labels is None) == (labels is None)
    if read.labels is not None:
        np.testing.assert_array_equal(read.labels, LABELS)


@pytest.mark.parametrize("rows", [PIXELS, LABELS, PIXELS[:0], PIXELS[:, ::2]])
def test_a_reply_arrives_as_it_was(rows: np.ndarray) -> None:
    """Rows of either kind, also none and views, come with their times, and may be written to."""
    read = read_reply(pack_reply(Reply(rows, 0.25, 0.5)))
    assert isinstance(read, Reply)
    assert (read.rows.dtype, read.queue_s, read.infer_s) == (rows.dtype, 0.25, 0.5)
    np.testing.assert_array_equal(read.rows, rows)
    assert read.rows.flags.writeable


@pytest.mark.parametrize("error", [NotReady("a", retry_after=3.5), Overloaded("b", retry_after=1), TimedOut("c")])
def test_an_error_arrives_as_what_it_is(error: NotReady | Overloaded | TimedOut) -> None:
    """The errors that Translator names keep class, text and Retry-After."""
    read = read_reply(pack_reply(error))
    assert type(read) is type(error)
    assert str(read) == str(error)
    assert read.retry_after == error.retry_after


def test_other_errors_arrive_as_the_engines() -> None:
    """A graph's failure keeps its text, and of any other error only the kind goes out."""
    assert str(read_reply(pack_reply(EngineError("toy@1 failed")))) == "toy@1 failed"
    other = read_reply(pack_reply(ValueError("/secret/path")))
    assert isinstance(other, EngineError)
    assert str(other) == "unexpected ValueError"


ONE = ["|u1", [1]]
"""An array of one byte."""


@pytest.mark.parametrize(
    ("label", "arrays", "contents"),
    [
        (None, None, b""),
        ([], [], b""),
        (["toy@1", "g", None, None], [None, None], b""),
        (["toy@1", "g", None, None], [ONE], b"1"),
        (["toy@1", "g", None, None], [ONE, None], b""),
        (["toy@1", "g", None, None], [["|u1", ["a"]], None], b"1"),
        (["toy@1", "g", None, None], [["<f8", [1]], None], b"12345678"),
        (["toy@1", "g", None, None], [["|u1", [1], 7], None], b"1"),
        ([7, "g", None, None], [ONE, None], b"1"),
        (["toy@1", 7, None, None], [ONE, None], b"1"),
        (["toy@1", "g", 7, None], [ONE, None], b"1"),
        (["of another planet", "text", None], [], b""),
        (["overloaded", "text", "soon"], [], b""),
        ([None, 0.0, 0.0], [None], b""),
        ([None, "x", None], [ONE], b"1"),
        ([None, 0.0], [ONE], b"1"),
    ],
)
def test_what_is_no_parcel_is_refused(label: object, arrays: object, contents: bytes) -> None:
    """Whatever lies in the place of a parcel is a ParcelError, of requests and of replies."""
    packed = msgpack.packb([label, arrays])
    for read in (read_request, read_reply):
        with pytest.raises(ParcelError):
            read(len(packed).to_bytes(4) + packed + contents)


@given(st.binary(max_size=64))
def test_no_bytes_do_harm(data: bytes) -> None:
    """Any bytes at all are read, or are a ParcelError."""
    for read in (read_request, read_reply):
        try:
            read(data)
        except ParcelError:
            continue
