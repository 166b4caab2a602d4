"""Orders and replies pass through bytes unchanged, and other bytes are refused."""

import math
from functools import partial

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import EngineError, NotReady, Overloaded, TimedOut
from worker.queue.parcels import FORMAT, ParcelError, pack_order, pack_reply, read_order, read_reply
from worker.translator import Done, Order

PIXELS = np.arange(2 * 4 * 3 * 3, dtype=np.uint8).reshape(2, 4, 3, 3)
LABELS = np.linspace(-1, 2, 10, dtype=np.float32).reshape(2, 5)


@pytest.mark.parametrize(
    "inputs",
    [
        {"pixels": PIXELS},
        {"pixels": PIXELS, "labels": LABELS},
        {"latent": LABELS, "text": PIXELS[:, 0, 0]},
        {"pixels": PIXELS[:, ::2]},
    ],
)
def test_an_order_arrives_as_it_was(inputs: dict[str, np.ndarray]) -> None:
    """An order comes out with the same bundle, graph and inputs, to the bit, and the deadline of the reader."""
    read = read_order(pack_order(Order("toy@1", "generator", inputs, math.inf)), deadline=7.0)
    assert (read.bundle, read.graph, read.deadline, read.rows) == ("toy@1", "generator", 7.0, 2)
    assert list(read.inputs) == list(inputs)
    for kind, array in inputs.items():
        assert read.inputs[kind].dtype == array.dtype
        np.testing.assert_array_equal(read.inputs[kind], array)


@pytest.mark.parametrize("inputs", [{}, {"pixels": PIXELS[:0]}, {"pixels": PIXELS, "labels": LABELS[:1]}])
def test_an_order_needs_rows_of_each_input(inputs: dict[str, np.ndarray]) -> None:
    """An order without inputs, without rows or with unequal rows can be neither made nor read."""
    with pytest.raises(ValueError, match="one row or more, as many in each; got"):
        Order("toy@1", "generator", inputs, math.inf)


@pytest.mark.parametrize("rows", [PIXELS, LABELS, PIXELS[:, ::2]])
def test_a_reply_arrives_as_it_was(rows: np.ndarray) -> None:
    """A reply comes out with its outputs by kind, views too, and its times; the outputs can be written to."""
    read = read_reply(pack_reply(Done({"translated": rows, "score": LABELS[:, :1]}, 0.25, 0.5)))
    assert isinstance(read, Done)
    assert (list(read.outputs), read.queue_s, read.infer_s) == (["translated", "score"], 0.25, 0.5)
    for kind, array in {"translated": rows, "score": LABELS[:, :1]}.items():
        assert read.outputs[kind].dtype == array.dtype
        np.testing.assert_array_equal(read.outputs[kind], array)
        assert read.outputs[kind].flags.writeable


def test_a_parcel_of_another_format_is_refused_with_both_versions() -> None:
    """A worker refuses a parcel of another format with both versions, and its service gets that text."""
    packed = msgpack.packb([FORMAT + 1, ["toy@1", "generator", None, None], []])
    with pytest.raises(ParcelError, match=f"format {FORMAT + 1}, and this process reads {FORMAT}; run .* one version"):
        read_order(len(packed).to_bytes(4) + packed, deadline=math.inf)
    reply = read_reply(pack_reply(ParcelError("of another format")))
    assert isinstance(reply, EngineError)
    assert str(reply) == "of another format"


@pytest.mark.parametrize("error", [NotReady("a", retry_after=3.5), Overloaded("b", retry_after=1), TimedOut("c")])
def test_an_error_arrives_as_what_it_is(error: NotReady | Overloaded | TimedOut) -> None:
    """The errors that Translator names keep class, text and Retry-After."""
    read = read_reply(pack_reply(error))
    assert type(read) is type(error)
    assert str(read) == str(error)
    assert read.retry_after == error.retry_after


def test_other_errors_arrive_as_the_engines() -> None:
    """A graph's failure keeps its text; of any other error only the class goes out."""
    assert str(read_reply(pack_reply(EngineError("toy@1 failed")))) == "toy@1 failed"
    other = read_reply(pack_reply(ValueError("/secret/path")))
    assert isinstance(other, EngineError)
    assert str(other) == "unexpected ValueError"


ONE = ["pixels", "|u1", [1]]
"""An input of one byte."""


@pytest.mark.parametrize(
    ("label", "arrays", "contents"),
    [
        (None, None, b""),
        ([], [], b""),
        (["toy@1", "g", None, None], [], b""),
        (["toy@1", "g", None, None], [ONE, ONE], b""),
        (["toy@1", "g", None, None], [ONE], b""),
        (["toy@1", "g", None, None], [["pixels", "|u1", ["a"]]], b"1"),
        (["toy@1", "g", None, None], [["pixels", "<f8", [1]]], b"12345678"),
        (["toy@1", "g", None, None], [["pixels", "|u1", [1], 7]], b"1"),
        (["toy@1", "g", None, None], [[7, "|u1", [1]]], b"1"),
        (["toy@1", "g", None, None], [["pixels", "|u1", []]], b"1"),
        (["toy@1", "g", None, None], [ONE, ["labels", "|u1", [2]]], b"123"),
        ([7, "g", None, None], [ONE], b"1"),
        (["toy@1", None, None, None], [ONE], b"1"),
        (["toy@1", "g", 7, None], [ONE], b"1"),
        (["of another planet", "text", None], [], b""),
        (["overloaded", "text", "soon"], [], b""),
        ([None, 0.0, 0.0], [], b""),
        ([None, "x", None], [ONE], b"1"),
        ([None, 0.0], [ONE], b"1"),
    ],
)
def test_what_is_no_parcel_is_refused(label: object, arrays: object, contents: bytes) -> None:
    """Bytes that are not a parcel raise ParcelError, as orders and as replies."""
    packed = msgpack.packb([FORMAT, label, arrays])
    for read in (partial(read_order, deadline=math.inf), read_reply):
        with pytest.raises(ParcelError):
            read(len(packed).to_bytes(4) + packed + contents)


@given(st.binary(max_size=64))
def test_no_bytes_do_harm(data: bytes) -> None:
    """Any bytes are either read or raise ParcelError."""
    for read in (partial(read_order, deadline=math.inf), read_reply):
        try:
            read(data)
        except ParcelError:
            continue
