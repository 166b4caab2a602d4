"""Storage roots: a job reaches what is configured and nothing else, and finds the pictures there."""

import asyncio
import os
from pathlib import Path

import pytest

from worker.errors import InvalidParameter
from worker.jobs import roots as module
from worker.jobs.roots import Roots
from worker.storage import StorageError


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    """Two roots: photos, a folder; bucket, an object store in memory."""
    return Roots({"photos": str(tmp_path / "photos"), "bucket": "memory:///"})


def put(folder: Path, *names: str) -> None:
    """Writes files, each with its own name as its content."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def listed(roots: Roots, where: str) -> list[str]:
    """The pictures below a folder of a root."""
    return asyncio.run(roots.pictures(where))


@pytest.mark.parametrize(
    ("where", "folder"),
    [
        ("photos", ""),
        ("photos/", ""),
        ("photos/2024/may", "2024/may"),
        ("photos/./a//b/", "a/b"),
        ("photos/a b", "a b"),
    ],
)
def test_a_root_is_found_by_its_name(roots: Roots, where: str, folder: str) -> None:
    """The part after the root's name is the folder, without trailing and doubled slashes."""
    assert roots.find(where)[1] == folder


@pytest.mark.parametrize(
    "where",
    ["photos/..", "photos/a/../../b", "photos//etc", "photos/a\x00b", "photos/a\nb", r"photos/a\..\b", "photos/\udc80"],
)
def test_no_path_leads_out_of_a_root(roots: Roots, where: str) -> None:
    """Parent folders, absolute paths, backslashes and characters that no name can have are refused."""
    with pytest.raises(InvalidParameter, match="no folder below its root"):
        roots.find(where)


@pytest.mark.parametrize("where", ["photos/" + "x" * 201, "photos/" + "x/" * 400])
def test_a_folder_that_no_disk_can_hold_is_refused(roots: Roots, where: str) -> None:
    """A folder that is too long is refused at once, before any output fails in it."""
    with pytest.raises(InvalidParameter, match="too long"):
        roots.find(where)


@pytest.mark.parametrize("where", ["", "/", "/etc", "..", "attic/2024", "s3://bucket", "Photos"])
def test_an_unknown_root_names_the_known_ones(roots: Roots, where: str) -> None:
    """A path without a root is refused with the names of the roots, but not their places."""
    with pytest.raises(InvalidParameter, match="known: bucket, photos") as caught:
        roots.find(where)
    assert "memory" not in str(caught.value)


def test_without_roots_every_source_is_refused() -> None:
    """Without roots the error says that none is configured."""
    with pytest.raises(InvalidParameter, match="none is configured"):
        Roots({}).find("photos")


def test_a_root_that_can_not_be_opened_fails_at_once() -> None:
    """A misspelt URL fails when the service starts, not when a job comes."""
    with pytest.raises(StorageError, match="ftp"):
        Roots({"photos": "ftp://host"})


def test_only_pictures_are_taken_in_order(tmp_path: Path, roots: Roots) -> None:
    """Pictures at any depth are listed sorted; other files, hidden ones and those in hidden folders are left out."""
    put(tmp_path / "photos", "b/c/2.PNG", "b/1.jpg", "b/notes.txt", "b/.3.jpg", "b/.git/4.jpg", "b/Thumbs.db", "5.jpg")
    assert listed(roots, "photos/b") == ["b/1.jpg", "b/c/2.PNG"]
    assert listed(roots, "photos") == ["5.jpg", "b/1.jpg", "b/c/2.PNG"]
    assert listed(roots, "photos/nothing") == []


def test_a_bucket_is_listed_alike(roots: Roots) -> None:
    """A root in an object store gives the same as one on disk."""
    storage, _ = roots.find("bucket")

    async def main() -> list[str]:
        for path in ("b/c/2.PNG", "b/1.jpg", "b/notes.txt", "b/.git/4.jpg", "bb/6.jpg"):
            await storage.put(path, b"x")
        return await roots.pictures("bucket/b")

    assert asyncio.run(main()) == ["b/1.jpg", "b/c/2.PNG"]


def test_odd_names_can_be_read(tmp_path: Path, roots: Roots) -> None:
    """A picture is read under every name that a disk may hold: percent, hash, question marks, wide spaces."""
    names = ["100%.jpg", "a%20b.jpg", "a#1.jpg", "q?*.jpg", "a\u202fb.jpg", "é/e\u0301.jpg", "a b/~.jpg", "b\\c.jpg"]
    put(tmp_path / "photos", *names)
    storage, _ = roots.find("photos")

    async def main() -> None:
        found = await roots.pictures("photos")
        assert sorted(found) == sorted(names)
        assert [await storage.get(path) for path in found] == [path.encode() for path in found]

    asyncio.run(main())


@pytest.mark.parametrize("name", [b"bad\xff.jpg", b"new\nline.jpg"])
def test_a_name_that_can_not_be_read_is_in_the_error(tmp_path: Path, roots: Roots, name: bytes) -> None:
    """A picture with a name that no object can have is refused with that name, rather than left out in silence."""
    put(tmp_path / "photos", "fine.jpg")
    (tmp_path / "photos" / os.fsdecode(name)).write_text("x")
    with pytest.raises(InvalidParameter, match="rename it") as caught:
        listed(roots, "photos")
    str(caught.value).encode()


def test_a_folder_that_can_not_be_walked_does_not_stop_the_rest(tmp_path: Path, roots: Roots) -> None:
    """Circular and dangling links, pipes, and odd names of other files are passed over."""
    put(tmp_path / "photos", "a/1.jpg", "odd\x01.txt")
    (tmp_path / "photos/a/gone.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "photos/a/pipe.jpg")
    (tmp_path / "photos/a/loop").symlink_to(tmp_path / "photos", target_is_directory=True)
    assert listed(roots, "photos") == ["a/1.jpg"]


@pytest.mark.parametrize(
    ("source", "destination", "overlap"),
    [
        ("photos/in", "photos/out", False),
        ("photos/in", "photos/input", False),
        ("photos/in", "photos/in", True),
        ("photos/in/", "photos/in/out", True),
        ("photos/in/a", "photos/in", True),
        ("photos", "photos/out", True),
        ("photos", "bucket", False),
        ("photos/2024/a", "year/a", True),
        ("photos/2023/a", "year", False),
    ],
)
def test_outputs_never_go_where_pictures_are_read(tmp_path: Path, source: str, destination: str, overlap: bool) -> None:
    """Two folders are refused if one lies in the other, also if a root lies in another root."""
    photos = tmp_path / "photos"
    roots = Roots({"photos": str(photos), "year": str(photos / "2024"), "bucket": "memory:///"})
    if overlap:
        with pytest.raises(InvalidParameter, match="overlap"):
            roots.require_apart(source, destination)
    else:
        roots.require_apart(source, destination)


def overlap(roots: Roots, source: str, destination: str) -> bool:
    """Whether source and destination are refused as overlapping."""
    try:
        roots.require_apart(source, destination)
    except InvalidParameter:
        return True
    return False


def test_one_folder_under_two_names_overlaps(tmp_path: Path) -> None:
    """Roots that lead to one folder by a link, by `..` or as a URL are one, and so are folders within them."""
    photos = tmp_path / "photos"
    (photos / "in").mkdir(parents=True)
    (tmp_path / "link").symlink_to(photos)
    (photos / "out").symlink_to(photos / "in")
    places = {
        "photos": str(photos),
        "link": str(tmp_path / "link"),
        "dots": str(tmp_path / "photos/in/.."),
        "url": photos.as_uri(),
        "within": str(tmp_path / "link/in"),
    }
    roots = Roots(places)
    for name in ("link", "dots", "url"):
        assert overlap(roots, "photos", name)
        assert overlap(roots, "photos/in", f"{name}/in/new")
        assert not overlap(roots, "photos/in", f"{name}/made")
    assert overlap(roots, "photos/in", "within")
    assert overlap(roots, "within", "photos/in/made")
    assert not overlap(roots, "within/a", "photos/in/b")
    assert overlap(roots, "photos/in", "photos/out")


def test_a_folder_that_is_mounted_twice_overlaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two mounts of one folder overlap, and so do mounts of a folder and of one in it, as a container may have."""
    photos, out, other = (tmp_path / name for name in ("my photos", "out", "other"))
    mounts = tmp_path / "mountinfo"
    rows = [
        "20 1 254:0 / / rw - ext4 /dev/vda rw",
        f"21 20 254:1 / {out} rw - ext4 /dev/vdb rw",
        rf"22 20 8:1 /data {str(photos).replace(' ', chr(92) + '040')} rw - ext4 /dev/sda rw",
        f"23 20 8:1 /data/out {out} rw - ext4 /dev/sda rw",
        f"24 20 8:1 /database {other} rw - ext4 /dev/sda rw",
    ]
    mounts.write_text("\n".join(rows) + "\n")
    monkeypatch.setattr(module, "MOUNTS", mounts)
    roots = Roots({"photos": str(photos), "out": str(out), "other": str(other), "disk": str(tmp_path / "disk")})
    assert overlap(roots, "photos", "out")
    assert overlap(roots, "photos/out/2024", "out")
    assert not overlap(roots, "photos/in", "out")
    assert not overlap(roots, "photos", "other")
    assert not overlap(roots, "photos", "disk")
