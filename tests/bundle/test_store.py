"""A store ranks, finds, watches and refuses bundles, and one bad bundle costs the others nothing."""

import fcntl
import os
import queue
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bundles import flip_bundle, toy_bundle

from models.bundle import archive
from models.bundle.archive import Bundle, BundleError
from models.bundle.store import Snapshot, Store, StoreError

PATIENCE_S = 30


def refs(snapshot: Snapshot) -> list[str]:
    """What is served, in order of rank."""
    return [bundle.ref for bundle in snapshot.bundles]


def refused(snapshot: Snapshot) -> dict[str, str]:
    """What is not, and why."""
    return {entry.folder: entry.reason for entry in snapshot.refused}


def damage(bundle: Bundle) -> None:
    """Change one byte of a graph; its size stays."""
    path = bundle.path(next(iter(bundle.manifest.files)))
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[Store, "queue.Queue[Snapshot]"]]:
    """A store on an empty folder that is watched, and the queue that its snapshots arrive in."""
    changes: queue.Queue[Snapshot] = queue.Queue()
    with Store([tmp_path]) as store:
        store.watch(changes.put)
        yield store, changes


def test_an_empty_store_serves_nothing(tmp_path: Path) -> None:
    """An empty folder, and no folder at all, are stores without bundles."""
    assert Store([tmp_path]).snapshot() == Store([]).snapshot() == Snapshot()


def test_a_missing_folder_is_an_error_at_start(tmp_path: Path) -> None:
    """A store folder that does not exist, or is a file, is reported with its name."""
    with pytest.raises(StoreError, match="nowhere"):
        Store([tmp_path, tmp_path / "nowhere"])
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file"):
        Store([tmp_path / "file"])


def test_bundles_rank_by_store_then_by_folder(tmp_path: Path) -> None:
    """Bundles rank by store folder, then by the name of their own folder, not by their name in the manifest."""
    mine, shipped = tmp_path / "z-mine", tmp_path / "a-shipped"
    toy_bundle(shipped, name="b", folder="2")
    toy_bundle(shipped, name="a", folder="3")
    flip_bundle(mine, name="z")
    assert refs(Store([mine, shipped]).snapshot()) == ["z@1", "b@1", "a@1"]


def test_the_newest_version_of_a_name_comes_first(tmp_path: Path) -> None:
    """Dotted numbers are compared as numbers, text below numbers, and the versions of a name follow one another."""
    versions = ["1.9", "1.10", "1.rc", "2", "1"]
    for place, version in enumerate(versions):
        flip_bundle(tmp_path, version=version, folder=f"f{place}")
    flip_bundle(tmp_path, name="other", folder="f00")
    snapshot = Store([tmp_path]).snapshot()
    assert refs(snapshot) == ["flip@2", "flip@1.10", "flip@1.9", "flip@1.rc", "flip@1", "other@1"]
    newest, exact = snapshot.get("flip"), snapshot.get("flip@1.9")
    assert newest is not None
    assert newest.version == "2"
    assert exact is not None
    assert exact.version == "1.9"
    assert [snapshot.get(ref) for ref in ("flip@3", "flop", "", "@", "flip@")] == [None] * 5


def test_a_higher_folder_overrides_a_lower_one(tmp_path: Path) -> None:
    """The same name and version is served from the first folder and refused, with the reason, from the second."""
    toy_bundle(tmp_path / "mine", version="1")
    toy_bundle(tmp_path / "shipped", version="1")
    toy_bundle(tmp_path / "shipped", version="2", folder="toy2")
    snapshot = Store([tmp_path / "mine", tmp_path / "shipped"]).snapshot()
    assert refs(snapshot) == ["toy@1", "toy@2"]
    assert snapshot.bundles[0].folder.parent.name == "mine"
    assert snapshot.get("toy") == snapshot.bundles[0]
    assert refused(snapshot) == {"toy": "a folder of higher rank has toy@1 already"}


def test_a_folder_given_twice_counts_once(tmp_path: Path) -> None:
    """The same store folder by two paths serves each bundle once and refuses nothing."""
    toy_bundle(tmp_path / "store")
    (tmp_path / "link").symlink_to("store")
    snapshot = Store([tmp_path / "store", tmp_path / "link"]).snapshot()
    assert refs(snapshot) == ["toy@1"]
    assert snapshot.refused == ()


def test_domains_are_found_by_any_spelling(tmp_path: Path) -> None:
    """Bundles that know a name or alias come by rank, and domains() lists each name once, sorted."""
    toy_bundle(tmp_path, name="second", folder="b")
    toy_bundle(tmp_path, name="first", folder="a")
    flip_bundle(tmp_path)
    snapshot = Store([tmp_path]).snapshot()
    assert [bundle.name for bundle in snapshot.knowing("BLOND hair")] == ["first", "second"]
    assert snapshot.knowing("red") == ()
    assert list(snapshot.domains()) == ["black", "blond", "brown", "glasses", "grey", "horse", "smiling", "zebra"]
    assert [bundle.name for bundle in snapshot.domains()["zebra"]] == ["flip"]


def test_one_bad_bundle_never_hurts_the_others(tmp_path: Path) -> None:
    """A damaged bundle is refused with the reason, the rest is served, and a repaired one comes back."""
    damage(toy_bundle(tmp_path))
    flip_bundle(tmp_path)
    store = Store([tmp_path])
    assert refs(store.snapshot()) == ["flip@1"]
    assert "does not fit its SHA-256" in refused(store.snapshot())["toy"]
    toy_bundle(tmp_path)
    assert refs(store.refresh()) == ["flip@1", "toy@1"]
    assert store.snapshot().refused == ()


@pytest.mark.parametrize("how", ["graph", "lost graph", "manifest"])
def test_a_good_bundle_that_turns_bad_is_dropped(tmp_path: Path, how: str) -> None:
    """A served bundle whose graph changes or goes, or whose manifest breaks, is refused from then on."""
    bundle = toy_bundle(tmp_path)
    flip_bundle(tmp_path)
    store = Store([tmp_path])
    if how == "graph":
        damage(bundle)
    elif how == "lost graph":
        bundle.graph("generator").unlink()
    else:
        (bundle.folder / "bundle.json").write_text("{")
    assert refs(store.refresh()) == ["flip@1"]
    assert list(refused(store.snapshot())) == ["toy"]


def test_half_written_and_hidden_folders_are_ignored(tmp_path: Path) -> None:
    """Folders without bundle.json, hidden ones, and plain files are neither served nor refused."""
    toy_bundle(tmp_path, folder="copying").folder.joinpath("bundle.json").unlink()
    shutil.copytree(flip_bundle(tmp_path / "elsewhere").folder, tmp_path / ".tmp-flip")
    (tmp_path / "README.md").touch()
    assert Store([tmp_path]).snapshot() == Snapshot()


def test_a_bundle_that_goes_is_gone(tmp_path: Path) -> None:
    """A removed bundle leaves the store without a refusal; a snapshot taken before still holds it."""
    bundle = toy_bundle(tmp_path)
    store = Store([tmp_path])
    before = store.snapshot()
    shutil.rmtree(bundle.folder)
    assert store.refresh() == Snapshot()
    assert refs(before) == ["toy@1"]


def test_a_store_folder_that_goes_is_refused_and_may_come_back(tmp_path: Path) -> None:
    """Losing one store folder is reported, does not touch the other, and heals."""
    toy_bundle(tmp_path / "a")
    flip_bundle(tmp_path / "b")
    store = Store([tmp_path / "a", tmp_path / "b"])
    (tmp_path / "a").rename(tmp_path / "moved")
    assert refs(store.refresh()) == ["flip@1"]
    assert "can't be read" in refused(store.snapshot())["a"]
    (tmp_path / "moved").rename(tmp_path / "a")
    assert refs(store.refresh()) == ["toy@1", "flip@1"]


def test_only_what_changed_is_hashed_again(tmp_path: Path) -> None:
    """Unchanged bundles keep their identity over a refresh, a rewritten one is read anew."""
    toy_bundle(tmp_path)
    flip_bundle(tmp_path)
    store = Store([tmp_path])
    toy, flip = store.snapshot().get("toy"), store.snapshot().get("flip")
    assert store.refresh().get("toy") is toy
    toy_bundle(tmp_path)
    again = store.refresh()
    assert again.get("flip") is flip
    assert again.get("toy") is not toy
    assert again.get("toy") == toy


def test_a_killed_replacement_is_put_back(tmp_path: Path) -> None:
    """The bundle of a writer that died between its two renames is put back and served."""
    bundle = toy_bundle(tmp_path)
    bundle.folder.rename(archive.aside(bundle.folder))
    store = Store([tmp_path])
    assert refs(store.snapshot()) == ["toy@1"]
    assert store.snapshot().refused == ()
    assert bundle.folder.exists()


def test_a_bundle_stays_served_between_a_writers_two_renames(tmp_path: Path) -> None:
    """While a living writer holds a bundle aside, it is served on, and a store that starts now does not touch it."""
    bundle = toy_bundle(tmp_path)
    store = Store([tmp_path])
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    bundle.folder.rename(archive.aside(bundle.folder))
    assert refs(store.refresh()) == ["toy@1"]
    assert Store([tmp_path]).snapshot() == Snapshot()
    archive.aside(bundle.folder).rename(bundle.folder)
    os.close(descriptor)
    assert store.refresh().get("toy") == bundle


def test_a_bundle_never_vanishes_while_it_is_replaced(tmp_path: Path) -> None:
    """However often a bundle is replaced, every scan in between serves one of its versions and refuses nothing."""
    toy_bundle(tmp_path, version="0")
    store = Store([tmp_path])
    done = threading.Event()

    def replace() -> None:
        for version in range(1, 25):
            toy_bundle(tmp_path, version=str(version))
        done.set()

    writer = threading.Thread(target=replace)
    writer.start()
    seen = []
    while not done.is_set():
        snapshot = store.refresh()
        assert snapshot.refused == ()
        seen.append(int(snapshot.bundles[0].version))
    writer.join()
    assert seen == sorted(seen)
    assert refs(store.refresh()) == ["toy@24"]


def test_a_replacement_that_ends_during_a_scan_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle that could not be read, because it was just being replaced, is read again in the same scan."""
    toy_bundle(tmp_path)
    store = Store([tmp_path])
    read = archive.read

    def read_too_early(folder: Path, *, verify: bool = True) -> Bundle:
        monkeypatch.setattr(archive, "read", read)
        toy_bundle(tmp_path, version="3")
        raise BundleError("gone")

    toy_bundle(tmp_path, version="2")
    monkeypatch.setattr(archive, "read", read_too_early)
    assert refs(store.refresh()) == ["toy@3"]


def test_what_a_listing_lacks_is_looked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A served bundle that a directory listing misses, as it may during a rename, is served on."""
    toy_bundle(tmp_path)
    store = Store([tmp_path])
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter(()))
    assert refs(store.refresh()) == ["toy@1"]


def test_a_scan_without_news_is_not_announced(tmp_path: Path) -> None:
    """`on_change` is called for changes only, not for each scan of a watched store."""
    scans: queue.Queue[Snapshot] = queue.Queue()
    changes: queue.Queue[Snapshot] = queue.Queue()

    class Counted(Store):
        def refresh(self) -> Snapshot:
            scans.put(super().refresh())
            return self.snapshot()

    toy_bundle(tmp_path)
    with Counted([tmp_path]) as store:
        store.watch(changes.put)
        for _ in range(3):
            scans.get(timeout=PATIENCE_S)
    assert changes.empty()


def test_a_watched_store_follows_every_change(tmp_path: Path, watched: tuple[Store, "queue.Queue[Snapshot]"]) -> None:
    """A bundle that appears, changes and goes is announced with a new snapshot each time."""
    store, changes = watched
    bundle = toy_bundle(tmp_path)
    assert refs(changes.get(timeout=PATIENCE_S)) == ["toy@1"]
    toy_bundle(tmp_path, version="2")
    assert refs(changes.get(timeout=PATIENCE_S)) == ["toy@2"]
    shutil.rmtree(bundle.folder)
    last = changes.get(timeout=PATIENCE_S)
    while last.bundles or last.refused:
        last = changes.get(timeout=PATIENCE_S)
    assert store.snapshot() == last


def test_a_failing_listener_does_not_stop_the_watch(tmp_path: Path) -> None:
    """When `on_change` raises, later changes are announced all the same."""
    changes: queue.Queue[Snapshot] = queue.Queue()

    def listen(snapshot: Snapshot) -> None:
        changes.put(snapshot)
        raise RuntimeError("listener")

    with Store([tmp_path]) as store:
        store.watch(listen)
        toy_bundle(tmp_path)
        assert refs(changes.get(timeout=PATIENCE_S)) == ["toy@1"]
        flip_bundle(tmp_path)
        assert refs(changes.get(timeout=PATIENCE_S)) == ["flip@1", "toy@1"]


def test_a_folder_that_was_away_is_followed_again(tmp_path: Path) -> None:
    """A mount that is away when the watch begins, and comes back, is scanned like any other."""
    changes: queue.Queue[Snapshot] = queue.Queue()
    folder = tmp_path / "store"
    toy_bundle(folder)
    with Store([folder]) as store:
        folder.rename(tmp_path / "away")
        store.watch(changes.put)
        assert refused(changes.get(timeout=PATIENCE_S)).keys() == {"store"}
        (tmp_path / "away").rename(folder)
        assert refs(changes.get(timeout=PATIENCE_S)) == ["toy@1"]


def test_closing_ends_the_watch_and_may_be_repeated(tmp_path: Path) -> None:
    """close() ends the thread and keeps the last snapshot, and the store can be watched again."""
    toy_bundle(tmp_path)
    store = Store([tmp_path])
    store.close()
    store.watch()
    with pytest.raises(StoreError, match="watched already"):
        store.watch()
    store.close()
    store.close()
    assert "store" not in {thread.name for thread in threading.enumerate()}
    assert refs(store.snapshot()) == ["toy@1"]
    store.watch()
    store.close()
