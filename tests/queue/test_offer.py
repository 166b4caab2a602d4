"""What a service offers while its store and its workers have different bundles."""

import shutil
from pathlib import Path

import pytest
from support.bundles import flip_bundle, toy_bundle

from models.bundle.store import Store
from worker.queue.beats import Beat
from worker.queue.offer import ARRIVAL_S, Offer


class Stand:
    """A store, workers that the test sets, and a clock that it moves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1000.0
        self.crew: list[Beat] = []
        toy_bundle(folder)
        self.store = Store([folder])
        self.offer = Offer(self.store, lambda: self.crew, clock=lambda: self.now)

    def changed(self) -> None:
        """Reads the store again and passes its snapshot to the offer."""
        self.offer.follow(self.store.refresh())

    def workers(self, *bundles: tuple[str, ...], refused: tuple[str, ...] = ()) -> None:
        """Sets the workers, each with its bundles."""
        whys = dict.fromkeys(refused, "broken")
        self.crew = [Beat(name=str(number), bundles=refs, refused=whys) for number, refs in enumerate(bundles)]

    @property
    def offered(self) -> list[str]:
        """The offered bundles, in order."""
        return [bundle.ref for bundle in self.offer.snapshot().bundles]


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """A store with toy@1, and no worker."""
    return Stand(tmp_path)


def test_without_workers_all_is_offered(stand: Stand) -> None:
    """Without workers the whole store is offered, so that the error is "no worker", not "unknown model"."""
    assert stand.offered == ["toy@1"]
    flip_bundle(stand.folder)
    stand.changed()
    assert stand.offered == ["flip@1", "toy@1"]


def test_a_replaced_version_is_offered_until_all_workers_have_the_next(stand: Stand) -> None:
    """While workers change one by one, the offered version is always one that all of them have."""
    stand.workers(("toy@1",), ("toy@1",))
    toy_bundle(stand.folder, version="2")
    stand.changed()
    assert stand.offered == ["toy@1"]
    stand.workers(("toy@2", "toy@1"), ("toy@1",))
    assert stand.offered == ["toy@1"]
    stand.workers(("toy@2", "toy@1"), ("toy@2", "toy@1"))
    assert stand.offered == ["toy@2"]
    stand.workers(("toy@2",), ("toy@2",))
    assert stand.offered == ["toy@2"]


def test_workers_may_see_a_new_version_first(stand: Stand) -> None:
    """While workers have a newer version first, the store's own, which they still have loaded, is offered."""
    stand.workers(("toy@2", "toy@1"))
    assert stand.offered == ["toy@1"]


def test_versions_that_no_worker_had_are_passed_over(stand: Stand) -> None:
    """After two replacements in a row, the version before both is offered while the workers have it."""
    stand.workers(("toy@1",))
    for version in ("2", "3"):
        toy_bundle(stand.folder, version=version)
        stand.changed()
    assert stand.offered == ["toy@1"]
    stand.workers(("toy@3", "toy@1"))
    assert stand.offered == ["toy@3"]


def test_the_version_of_the_workers_wins_for_as_long_as_it_takes(stand: Stand) -> None:
    """If the workers' store stays behind, their version comes first, and the new one can be named."""
    stand.workers(("toy@1",))
    toy_bundle(stand.folder, version="2")
    stand.changed()
    stand.now += ARRIVAL_S
    assert stand.offered == ["toy@1", "toy@2"]


def test_a_new_bundle_is_offered_when_all_workers_have_it(stand: Stand) -> None:
    """A new bundle is offered only when all workers have it, so no request fails that another bundle can do."""
    stand.workers(("toy@1",), ("toy@1",))
    flip_bundle(stand.folder)
    stand.changed()
    assert stand.offered == ["toy@1"]
    stand.workers(("flip@1", "toy@1"), ("toy@1",))
    assert stand.offered == ["toy@1"]
    stand.workers(("flip@1", "toy@1"), ("flip@1", "toy@1"))
    assert stand.offered == ["flip@1", "toy@1"]


def test_a_new_bundle_that_workers_lack_is_offered_in_the_end(stand: Stand) -> None:
    """After ARRIVAL_S a bundle that workers lack is offered, so that the error says that no worker has it."""
    stand.workers(("toy@1",))
    flip_bundle(stand.folder)
    stand.changed()
    stand.now += ARRIVAL_S - 1
    assert stand.offered == ["toy@1"]
    stand.now += 1
    assert stand.offered == ["flip@1", "toy@1"]


def test_a_bundle_that_workers_refuse_is_offered(stand: Stand) -> None:
    """A bundle that the workers refuse is offered, so that the error has their reason."""
    stand.workers(("toy@1",), refused=("flip@1",))
    flip_bundle(stand.folder)
    stand.changed()
    assert stand.offered == ["flip@1", "toy@1"]


def test_what_left_the_store_is_offered_no_more(stand: Stand) -> None:
    """A bundle that left the store is not offered, though workers have it loaded for a while."""
    flip_bundle(stand.folder)
    stand.changed()
    stand.workers(("flip@1", "toy@1"))
    shutil.rmtree(stand.folder / "flip")
    stand.changed()
    assert stand.offered == ["toy@1"]
