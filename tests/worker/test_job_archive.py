"""A ZIP's files are read one by one, and none of the known attacks with a ZIP succeeds."""

import tracemalloc
import zipfile
import zlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.zips import DEFLATED, LINK, Member, wide, written

from worker.errors import InvalidParameter, RecastError, TooLarge, UnreadableImage
from worker.jobs.archive import FREE, files

MAX_BYTES = 100_000


def unpacked(data: bytes, *, most: int = 100, max_bytes: int = MAX_BYTES) -> list[tuple[str, bytes]]:
    """Every file that comes out."""
    return [(name, content) for name, content in files(BytesIO(data), most=most, max_bytes=max_bytes)]


def archive(*members: Member) -> bytes:
    """An archive with a plain picture before the members and one after them."""
    return written([Member(b"first.png", b"1"), *members, Member(b"last.png", b"2")])


def one(name: bytes) -> bytes:
    """An archive with a file of that name between two others."""
    return archive(Member(name, b"x"))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_ordinary_archive_gives_its_files_in_order(method: int) -> None:
    """Archives of the standard library are read whole, with names in any script."""
    files = [("b/2.jpg", b"x" * 70_000), ("a.png", b""), ("猫/é.webp", bytes(range(256)) * 99)]
    file = BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        made.mkdir("b")
        for name, data in files:
            made.writestr(name, data)
        made.comment = b"PK\5\6 a comment with a signature in it, and more than twenty-two bytes"
    assert unpacked(file.getvalue()) == files


def test_an_archive_written_to_a_pipe_is_read() -> None:
    """Sizes that stand after a file's bytes, as programs that can't seek write them, are found in the directory."""

    class Pipe(BytesIO):
        def seekable(self) -> bool:
            return False

    file = Pipe()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a.png", b"abc" * 99)
    assert unpacked(file.getvalue()) == [("a.png", b"abc" * 99)]


def test_large_archives_and_those_behind_something_are_read() -> None:
    """64-bit fields in directory and end, and a program before the archive, are valid."""
    member = Member(b"a.png", b"abc", packed_size=0xFFFFFFFF, size=0xFFFFFFFF, start=0xFFFFFFFF, extra=wide(3, 3, 0))
    assert unpacked(written([member], large=True, before=b"#!/bin/sh\n" * 9, comment=b"hello")) == [("a.png", b"abc")]


def test_what_file_managers_leave_is_skipped() -> None:
    """Folders and file managers' files are left out, at any depth and in any case."""
    clutter = [b"b/", b"b\\", b"__MACOSX/b/._1.jpg", b"b/.DS_Store", b"B/THUMBS.DB", b"desktop.ini", b"b/._2.jpg"]
    data = archive(*(Member(name, b"x", mode=0) for name in clutter), Member(b"b/.keep.png", b"3"))
    assert [name for name, _ in unpacked(data)] == ["first.png", "b/.keep.png", "last.png"]


@pytest.mark.parametrize(
    ("name", "flags", "wanted"),
    [
        ("é.png".encode(), 0x800, "é.png"),
        ("é.png".encode(), 0, "é.png"),
        ("é.png".encode("cp437"), 0, "é.png"),
        (b"\xff\xfe.png", 0x800, "\ufffd\ufffd.png"),
        (b"a\\b.png", 0, "a/b.png"),
        (b"./a.png", 0, "./a.png"),
        (b"..a..png", 0, "..a..png"),
    ],
)
def test_harmless_names_are_understood(name: bytes, flags: int, wanted: str) -> None:
    """Names are read in UTF-8 with and without its flag, in the old code page, and with Windows' separators."""
    assert [name for name, _ in unpacked(archive(Member(name, b"x", flags=flags)))][1] == wanted


def test_equal_names_all_come_out() -> None:
    """Two files of one name are two files; the intake makes their names unique."""
    assert unpacked(archive(Member(b"first.png", b"3")))[:2] == [("first.png", b"1"), ("first.png", b"3")]


@pytest.mark.parametrize(
    "name",
    [
        b"../a.png",
        b"a/../../b.png",
        b"/etc/a.png",
        b"..\\a.png",
        b"\\\\host\\a.png",
        b"C:\\a.png",
        b"c:a.png",
        b"a\0.png",
        b"../",
    ],
)
def test_names_that_lead_out_are_refused(name: bytes) -> None:
    """Parent folders, absolute paths, drives and zero bytes refuse the whole archive before any file is read."""
    with pytest.raises(InvalidParameter, match="leads out of it"):
        next(files(BytesIO(one(name)), most=100, max_bytes=MAX_BYTES))


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (Member(b"a.png", b"/etc/passwd", mode=LINK), "link"),
        (Member(b"a.png", b"", mode=0o010644), "link or a device"),
        (Member(b"a.png", b"x", flags=1), "encrypted"),
        (Member(b"a.png", b"x", flags=0x41), "encrypted"),
        (Member(b"a.png", b"x", method=12), "method 12"),
        (Member(b"a.png", b"x", method=99), "method 99"),
        (Member(b"a.zip", written([Member(b"b.png", b"x")])), "archive within"),
        (Member(b"a.png", written([Member(b"b.png", b"x")]), method=DEFLATED), "archive within"),
        (Member(b"a.png", written([])), "archive within"),
    ],
)
def test_what_no_honest_archive_of_pictures_holds_is_refused(member: Member, message: str) -> None:
    """Links, devices, encryption, rare methods and archives within refuse the whole archive, and say which entry."""
    with pytest.raises(InvalidParameter, match=message) as caught:
        unpacked(archive(member))
    assert member.name.decode() in str(caught.value)


def test_a_file_that_is_too_long_comes_out_one_byte_too_long() -> None:
    """A file that is too long is cut just beyond the limit, and no more of it is unpacked; its neighbours are whole."""
    long = bytes(range(256)) * 1000
    for method in (0, DEFLATED):
        found = unpacked(archive(Member(b"a.png", long, method)), max_bytes=1000)
        assert [len(data) for _, data in found] == [1, 1001, 1]
        assert found[1][1] == long[:1001]
        assert len(unpacked(archive(Member(b"a.png", long, method)), max_bytes=len(long))[1][1]) == len(long)


def test_a_bomb_is_refused_by_the_bytes_that_come_out() -> None:
    """Files that each stay below their limit are stopped by their sum, whatever sizes they claim."""
    bomb = Member(b"a.png", bytes(2 * FREE), DEFLATED, size=10)
    with pytest.raises(TooLarge, match="100 times its size"):
        unpacked(archive(bomb, bomb), max_bytes=4 * FREE)
    small = Member(b"a.png", bytes(50_000), DEFLATED)
    with pytest.raises(TooLarge, match="100 times its size"):
        unpacked(archive(*[small] * 60))
    assert len(unpacked(archive(*[small] * 15))) == 17


def test_a_bomb_never_unfolds_in_memory() -> None:
    """A bomb of a few kilobytes takes no more memory than one picture may have."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = b"".join(packer.compress(bytes(FREE)) for _ in range(20)) + packer.flush()
    file = BytesIO(written([Member(b"a.png", b"", DEFLATED, packed=packed)]))
    tracemalloc.start()
    try:
        assert [len(data) for _, data in files(file, most=1, max_bytes=MAX_BYTES)] == [MAX_BYTES + 1]
        assert tracemalloc.get_traced_memory()[1] < 10 * MAX_BYTES
    finally:
        tracemalloc.stop()


def test_entries_that_share_bytes_are_refused() -> None:
    """Entries that share bytes, lie within another, or reach into the next by their local name are refused."""
    kernel = Member(b"a.png", b"x" * 100)
    with pytest.raises(InvalidParameter, match="same bytes"):
        unpacked(written([kernel, Member(b"b.png", b"x" * 100, start=0, written=False)]))
    inner = written([Member(b"b.png", b"y")])[: 30 + 5 + 1]
    outer = Member(b"a.png", inner)
    with pytest.raises(InvalidParameter, match="overlaps"):
        unpacked(written([outer, Member(b"b.png", b"y", start=30 + 5, written=False)]))
    longer = Member(b"a.png", b"x", local_extra=bytes(500), packed_size=90)
    with pytest.raises(InvalidParameter, match="overlaps"):
        unpacked(written([longer, Member(b"b.png", b"y")]))


def test_too_many_files_are_refused_before_any_comes_out() -> None:
    """One file too many is refused, clutter not counted, and so is a directory of too much clutter."""
    plain = [Member(b"%d.png" % number, b"x") for number in range(11)]
    clutter = [Member(b"%d/" % number) for number in range(10)]
    assert len(unpacked(written([*plain[:10], *clutter]), most=10)) == 10
    with pytest.raises(TooLarge, match="more than 10 pictures"):
        next(files(BytesIO(written(plain)), most=10, max_bytes=MAX_BYTES))
    with pytest.raises(TooLarge, match="21 entries"):
        next(files(BytesIO(written([*plain, *clutter])), most=10, max_bytes=MAX_BYTES))
    with pytest.raises(TooLarge, match="4000000000 entries"):
        next(files(BytesIO(written(plain, entries=4_000_000_000, large=True)), most=10, max_bytes=MAX_BYTES))


def test_memory_does_not_grow_with_the_directory() -> None:
    """Thousands of entries take a few bytes each while they are read."""
    file = BytesIO(written([Member(b"%05d.png" % number, b"x" * 50) for number in range(2000)]))
    tracemalloc.start()
    try:
        assert sum(1 for _ in files(file, most=2000, max_bytes=MAX_BYTES)) == 2000
        assert tracemalloc.get_traced_memory()[1] < 300_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        bytes(70_000),
        one(b"a.png")[:-1],
        one(b"a.png")[:-30],
        one(b"a.png") + b"\0",
        one(b"a.png")[40:],
        written([Member(b"a.png", b"x")], entries=0),
        written([Member(b"a.png", b"x")], entries=2),
        archive(Member(b"a.png", b"x", crc=1)),
        archive(Member(b"a.png", b"x", size=2)),
        archive(Member(b"a.png", b"x" * 99, method=DEFLATED, packed=b"\xff\xff\xff\xff")),
        archive(Member(b"a.png", b"x" * 99, method=DEFLATED, packed=b"")),
        archive(Member(b"a.png", b"x", packed_size=4000)),
        archive(Member(b"a.png", b"x", start=4000)),
        written([Member(b"a.png", b"x", start=3)]),
        archive(Member(b"a.png", b"x", size=0xFFFFFFFF)),
        archive(Member(b"a.png", b"x", start=0xFFFFFFFF, extra=wide())),
        archive(Member(b"a.png", b"x", start=0xFFFFFFFF, extra=wide(2**64 - 1))),
        archive(Member(b"a.png", b"x", start=0xFFFFFFFF, extra=wide(0)[:-1])),
    ],
)
def test_a_damaged_archive_is_refused(data: bytes) -> None:
    """A file that is no ZIP, is cut short, or contradicts its own sizes, places and checksums is unreadable."""
    with pytest.raises(UnreadableImage, match="archive"):
        unpacked(data)


def test_an_empty_archive_has_no_pictures() -> None:
    """An empty archive is no error here; the intake says that a job needs a picture."""
    assert unpacked(written([])) == []


@given(st.data())
def test_no_broken_archive_does_worse_than_be_refused(data: st.DataObject) -> None:
    """An archive with any bytes changed or cut off is read or refused, and never unpacks to more than allowed."""
    members = [Member(b"a.png", b"abc" * 50, DEFLATED), Member(b"b/c.png", bytes(300)), Member(b"d/")]
    whole = written(members, large=data.draw(st.booleans()), comment=b"hello")
    broken = bytearray(whole[: data.draw(st.integers(0, len(whole)))] if data.draw(st.booleans()) else whole)
    for _ in range(data.draw(st.integers(1, 4)) if broken else 0):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.sampled_from([0, 1, 8, 0x7F, 0xFF]))
    try:
        found = unpacked(bytes(broken), max_bytes=500)
    except RecastError as error:
        str(error).encode()
    else:
        assert all(len(content) <= 501 and ".." not in name.split("/") for name, content in found)
