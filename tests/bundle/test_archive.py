"""Bundles on disk: written whole or not at all, and refused with the reason when anything does not fit."""

import fcntl
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.bundles import flip_bundle, toy_bundle

from models.bundle import archive
from models.bundle.archive import MAX_MANIFEST_BYTES, Bundle, BundleError, read, recover, write
from models.bundle.manifest import Domain, Graph, Manifest, Picture

ROOT = Path(__file__).parents[2]

FIXED = Manifest(
    name="fixed",
    version="1",
    family="pix2pix",
    domains=(Domain(name="photo"),),
    graphs={"generator": Graph(file="generator.onnx")},
    picture=Picture(size=8),
    licence="CC0-1.0",
)


def fixed_bundle(folder: Path, version: str = "1", content: bytes = b"graph") -> Bundle:
    """A bundle of one file; its bytes need not be a graph, as the archive does not look into them."""
    return write(folder, FIXED.model_copy(update={"version": version}), {"generator.onnx": content})


def rewrite_manifest(folder: Path, **changes: object) -> None:
    """Change top-level fields of a bundle.json in place."""
    path = folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """A written bundle reads back equal, with the hash of every file and nothing else beside it."""
    bundle = toy_bundle(tmp_path)
    again = read(tmp_path / "toy")
    assert again == bundle
    assert hash(again) == hash(bundle)
    assert (again.ref, again.name, again.version) == ("toy@1", "toy", "1")
    listed = {str(path.relative_to(bundle.folder)) for path in bundle.folder.rglob("*") if path.is_file()}
    assert listed == {*bundle.manifest.files, "bundle.json"}
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_sources_may_be_bytes_or_paths(tmp_path: Path) -> None:
    """A file given by its path is copied, one given as bytes is written."""
    source = tmp_path / "source.bin"
    source.write_bytes(b"from a path")
    files: dict[str, bytes | Path] = {"generator.onnx": source, "samples/a.png": b"from memory"}
    bundle = write(tmp_path / "store" / "fixed", FIXED, files)
    assert bundle.graph("generator").read_bytes() == b"from a path"
    assert bundle.path("samples/a.png").read_bytes() == b"from memory"


def test_a_bundle_can_be_rewritten_from_its_own_files(tmp_path: Path) -> None:
    """The sources may lie in the very folder that is replaced."""
    old = fixed_bundle(tmp_path / "fixed", content=b"kept")
    new = write(old.folder, FIXED.model_copy(update={"version": "2"}), {"generator.onnx": old.graph("generator")})
    assert new.load("generator.onnx") == b"kept"
    assert read(old.folder).version == "2"


def test_only_listed_names_have_a_path(tmp_path: Path) -> None:
    """A name that the manifest does not list gets no path, however it is written."""
    bundle = toy_bundle(tmp_path)
    for file in ("bundle.json", "../toy/generator.onnx", "/etc/passwd", "samples", ""):
        with pytest.raises(BundleError, match="has no file"):
            bundle.path(file)
        with pytest.raises(BundleError, match="has no file"):
            bundle.load(file)
    with pytest.raises(BundleError, match="has no graph 'critic'; it has generator, classifier"):
        bundle.graph("critic")


def test_every_byte_is_verified_unless_told_not_to(tmp_path: Path) -> None:
    """One flipped bit in any listed file is found, and only the check of hashes can be left out."""
    bundle = toy_bundle(tmp_path)
    for file in bundle.manifest.files:
        path = bundle.path(file)
        good = path.read_bytes()
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        with pytest.raises(BundleError, match=f"toy: {file} does not fit its SHA-256"):
            read(bundle.folder)
        assert read(bundle.folder, verify=False) == bundle
        path.write_bytes(good)
    assert read(bundle.folder) == bundle


def test_a_bundle_replaced_behind_a_readers_back_is_noticed(tmp_path: Path) -> None:
    """Loading a file by an old manifest from a folder that holds a newer bundle is an error, not a mixture."""
    old = fixed_bundle(tmp_path / "fixed", content=b"one")
    fixed_bundle(tmp_path / "fixed", version="2", content=b"two")
    with pytest.raises(BundleError, match=r"fixed@1: generator\.onnx does not fit its SHA-256"):
        old.load("generator.onnx")


@pytest.mark.parametrize("file", ["generator.onnx", "bundle.json"])
def test_links_that_leave_the_bundle_are_refused(tmp_path: Path, file: str) -> None:
    """A symbolic link to a file outside is refused, even if its content has the right hash."""
    bundle = fixed_bundle(tmp_path / "fixed")
    outside = tmp_path / "outside"
    (bundle.folder / file).rename(outside)
    (bundle.folder / file).symlink_to(outside)
    with pytest.raises(BundleError, match=f"{file} is a link that leaves the bundle"):
        read(bundle.folder)


def test_links_within_the_bundle_are_followed(tmp_path: Path) -> None:
    """A link from one file of the bundle to another is fine, and so is a link to the whole bundle."""
    bundle = fixed_bundle(tmp_path / "fixed")
    bundle.path("generator.onnx").rename(bundle.folder / "blob")
    bundle.path("generator.onnx").symlink_to("blob")
    (tmp_path / "alias").symlink_to("fixed")
    assert read(tmp_path / "alias").manifest == bundle.manifest


@pytest.mark.parametrize("kind", ["fifo", "folder", "loop", "missing"])
def test_what_is_no_plain_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    """A pipe, a folder, a link to itself or nothing in a file's place is an error at once."""
    bundle = fixed_bundle(tmp_path / "fixed")
    path = bundle.path("generator.onnx")
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    with pytest.raises(BundleError, match=r"^fixed: generator\.onnx"):
        read(bundle.folder)


def test_a_huge_manifest_is_refused_unread(tmp_path: Path) -> None:
    """A bundle.json above the limit is refused by its size, and is not written either."""
    bundle = fixed_bundle(tmp_path / "fixed")
    with (bundle.folder / "bundle.json").open("ab") as manifest:
        manifest.write(b" " * MAX_MANIFEST_BYTES)
    with pytest.raises(BundleError, match=f"more than {MAX_MANIFEST_BYTES} bytes"):
        read(bundle.folder)
    large = FIXED.model_copy(update={"training": {"log": "x" * MAX_MANIFEST_BYTES}})
    with pytest.raises(BundleError, match=f"more than {MAX_MANIFEST_BYTES} bytes"):
        write(tmp_path / "large", large, {"generator.onnx": b""})


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"name": "\\ud800"}'])
def test_a_manifest_that_is_no_manifest_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    """Whatever bundle.json holds, the error is a BundleError of one line that names the bundle, not its place."""
    bundle = fixed_bundle(tmp_path / "fixed")
    (bundle.folder / "bundle.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"^fixed: bundle\.json") as caught:
        read(bundle.folder)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_every_file_in_use_must_be_listed(tmp_path: Path) -> None:
    """A graph without a hash is refused when read, and a graph without content when written."""
    bundle = fixed_bundle(tmp_path / "fixed")
    rewrite_manifest(bundle.folder, files={})
    with pytest.raises(BundleError, match=r"generator\.onnx is used by the manifest, but missing from its files"):
        read(bundle.folder)
    with pytest.raises(BundleError, match="missing from its files"):
        write(tmp_path / "other", FIXED, {"readme": b""})


@pytest.mark.parametrize("file", ["../escaped", "/escaped", "bundle.json", "a/.hidden"])
def test_unsafe_names_are_refused_before_anything_is_written(tmp_path: Path, file: str) -> None:
    """A file name that could leave the folder leaves no trace."""
    with pytest.raises(BundleError):
        write(tmp_path / "fixed", FIXED, {"generator.onnx": b"", file: b""})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("training", "source"), [({}, Path("nowhere")), ({"object": object()}, b"")], ids=["missing source", "no json"]
)
def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, training: dict[str, object], source: bytes | Path
) -> None:
    """When a write fails half-way, the bundle that was there is untouched and nothing lies beside it."""
    bundle = fixed_bundle(tmp_path / "fixed")
    with pytest.raises(BundleError):
        write(bundle.folder, FIXED.model_copy(update={"training": training}), {"a": b"", "generator.onnx": source})
    assert read(bundle.folder) == bundle
    assert [path.name for path in tmp_path.iterdir()] == ["fixed"]


def test_a_folder_that_is_no_bundle_is_never_replaced(tmp_path: Path) -> None:
    """A writer fills an empty folder, and refuses one with other files, a plain file and a hidden name."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("ten years")
    with pytest.raises(BundleError, match=r"precious: holds files but no bundle\.json"):
        fixed_bundle(precious)
    with pytest.raises(BundleError, match=r"thesis\.txt: is a file and not a folder"):
        fixed_bundle(precious / "thesis.txt")
    with pytest.raises(BundleError, match="without a leading dot"):
        fixed_bundle(tmp_path / ".hidden")
    assert (precious / "thesis.txt").read_text() == "ten years"
    (tmp_path / "empty").mkdir()
    assert fixed_bundle(tmp_path / "empty") == read(tmp_path / "empty")


def test_strangers_hidden_folders_are_left_alone(tmp_path: Path) -> None:
    """Tidying up removes only what a writer of bundles left behind."""
    (tmp_path / ".tmp-download").mkdir()
    (tmp_path / ".tmp-bundle-dead").mkdir()
    fixed_bundle(tmp_path / "fixed")
    assert {path.name for path in tmp_path.iterdir()} == {".tmp-download", "fixed"}


def test_a_bundle_behind_a_link_is_replaced_in_its_own_place(tmp_path: Path) -> None:
    """Writing to a link replaces the bundle that it leads to, and the link stays."""
    fixed_bundle(tmp_path / "real" / "fixed")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "fixed")
    fixed_bundle(tmp_path / "link", version="2")
    assert (tmp_path / "link").is_symlink()
    assert read(tmp_path / "real" / "fixed").version == "2"


def test_a_reader_never_sees_a_mixture(tmp_path: Path) -> None:
    """While a bundle is replaced again and again, each read gives one whole version or says that there is none."""
    folder = tmp_path / "fixed"
    contents = {str(number): bytes([number]) * 50_000 for number in range(30)}
    fixed_bundle(folder, "0", contents["0"])
    done = threading.Event()

    def replace() -> None:
        for version, content in contents.items():
            fixed_bundle(folder, version, content)
        done.set()

    writer = threading.Thread(target=replace)
    writer.start()
    versions, reasons = [], []
    while not done.is_set():
        try:
            versions.append(read(folder).version)
        except BundleError as error:
            reasons.append(str(error))
    writer.join()
    assert versions == sorted(versions, key=int)
    assert set(reasons) <= {"fixed: bundle.json: No such file or directory"}  # between the two renames
    assert read(folder).version == "29"


def test_writers_of_one_store_take_turns(tmp_path: Path) -> None:
    """Several threads that write bundles at once, the same one too, leave whole bundles and nothing else."""
    names = ["a", "b", "a", "b", "a", "c"]
    start = threading.Barrier(len(names))
    failures = []

    def work(version: int, name: str) -> None:
        start.wait()
        try:
            fixed_bundle(tmp_path / name, str(version), os.urandom(10_000))
        except BundleError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(names)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]
    assert {read(tmp_path / name).manifest.name for name in "abc"} == {"fixed"}


KILLED_AT_EACH_LINE = """
import os, sys
from pathlib import Path
from models.bundle import archive
from models.bundle.manifest import Manifest
from models.bundle.store import Store

work, files = Path(sys.argv[1]), {"generator.onnx": b"new" * 9, "samples/a.png": b"sample"}
manifest = Manifest.model_validate_json(sys.argv[2])

def killed_after(lines, folder):
    count = 0
    def trace(frame, event, argument):
        nonlocal count
        if frame.f_code.co_filename != archive.__file__:
            return None
        count += event == "line"
        if count > lines:
            os._exit(9)
        return trace
    sys.settrace(trace)
    archive.write(folder, manifest, files)
    os._exit(0)

def reset(name):
    old = manifest.model_copy(update={"name": name, "version": "1"})
    archive.write(work / name, old, {"generator.onnx": b"old"})

reset("other")
for lines in range(10_000):
    reset("fixed")
    tidy = sorted(path.name for path in work.iterdir())
    child = os.fork()
    if child == 0:
        killed_after(lines, work / "fixed")
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = sorted(path.name for path in work.iterdir())
    snapshot = Store([work]).snapshot()
    served = [bundle.ref for bundle in snapshot.bundles]
    print(status, ",".join(tidy), ",".join(left), ",".join(served), len(snapshot.refused))
    if status == 0:
        break
"""


def test_a_writer_killed_at_any_line_loses_nothing(tmp_path: Path) -> None:
    """Killed at each line, the store serves the old bundle or the new one, and the next write leaves nothing behind."""
    manifest = FIXED.model_copy(update={"version": "2"}).model_dump_json()
    command = [sys.executable, "-c", KILLED_AT_EACH_LINE, str(tmp_path), manifest]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    statuses, tidy, left, served, refused = zip(*(line.split() for line in run.stdout.splitlines()), strict=True)
    assert len(statuses) > 80
    assert set(statuses[:-1]) == {"9"}
    assert set(refused) == {"0"}
    assert set(tidy) == {"fixed,other"}
    assert sorted(served) == list(served)
    assert set(served) == {"fixed@1,other@1", "fixed@2,other@1"}
    # Between the two renames too: then the old bundle is aside, and the store has put it back.
    assert ".old-bundle-fixed,.tmp-bundle-fixed,other" in left


def test_a_failed_rename_puts_the_old_bundle_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the new bundle cannot be moved in, the old one stands in its place again and nothing lies beside it."""
    bundle = fixed_bundle(tmp_path / "fixed")
    rename = Path.rename

    def refuse_new(path: Path, target: Path) -> Path:
        if path.name.startswith(".tmp-"):
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse_new)
    with pytest.raises(BundleError, match="fixed: No space left on device"):
        fixed_bundle(tmp_path / "fixed", version="2")
    assert read(bundle.folder) == bundle
    assert [path.name for path in tmp_path.iterdir()] == ["fixed"]


def test_what_lies_aside_is_put_back_only_when_no_writer_is_at_work(tmp_path: Path) -> None:
    """A bundle aside returns to its empty place, unless a living writer holds the store, and never onto a newer one."""
    folder = tmp_path / "fixed"
    bundle = fixed_bundle(folder)
    folder.rename(archive.aside(folder))
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert not recover(folder)
    os.close(descriptor)
    assert recover(folder)
    assert read(folder) == bundle
    assert not recover(folder)
    flip_bundle(tmp_path).folder.rename(archive.aside(folder))
    assert not recover(folder)
    assert read(folder) == bundle
