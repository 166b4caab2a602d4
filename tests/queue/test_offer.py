"""What a service offers while its store and its workers know different things."""

import shutil
from pathlib import Path

import pytest
from support.bundles import flip_bundle, toy_bundle

from models.bundle.store import Store
from worker.queue.beats import Beat
from worker.queue.offer import ARRIVAL_S, Offer


class Stand:
    """A store, workers as the test says they are, and a clock that it turns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1000.0
        self.crew: list[Beat] = []
        toy_bundle(folder)
        self.store = Store([folder])
        self.offer = Offer(self.store, lambda: self.crew, clock=lambda: self.now)

    def changed(self) -> None:
        """The store is looked through, and the offer is told."""
        self.offer.follow(self.store.refresh())

    def workers(self, *bundles: tuple[str, ...], refused: tuple[str, ...] = ()) -> None:
        """From now on there are workers that have these."""
        whys = dict.fromkeys(refused, "broken")
        self.crew = [Beat(name=str(number), bundles=refs, refused=whys) for number, refs in enumerate(bundles)]

    @property
    def offered(self) -> list[str]:
        """What can be asked for now, in order."""
        return [bundle.ref for bundle in self.offer.snapshot().bundles]


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """A store with toy@1, and no worker."""
    return Stand(tmp_path)


def test_without_workers_all_is_offered(stand: Stand) -> None:
    """Who asks is then answered that no worker is there, and not that there is no such model."""
    assert stand.offered == ["toy@1"]
    flip_bundle(stand.folder)
    stand.changed()
    assert stand.offered == ["flip@1", "toy@1"]


def test_a_replaced_version_is_offered_until_all_workers_have_the_next(stand: Stand) -> None:
    """Store first, workers after it one by one: at every moment the version is offered that all of them have."""
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
    """The store's version stays offered: workers still have it loaded."""
    stand.workers(("toy@2", "toy@1"))
    assert stand.offered == ["toy@1"]


def test_versions_that_no_worker_had_are_passed_over(stand: Stand) -> None:
    """Replaced twice in a row: what the workers have is the version before both."""
    stand.workers(("toy@1",))
    for version in ("2", "3"):
        toy_bundle(stand.folder, version=version)
        stand.changed()
    assert stand.offered == ["toy@1"]
    stand.workers(("toy@3", "toy@1"))
    assert stand.offered == ["toy@3"]


def test_the_version_of_the_workers_wins_for_as_long_as_it_takes(stand: Stand) -> None:
    """Workers whose store is behind serve what they have; the new version can be asked for by its number."""
    stand.workers(("toy@1",))
    toy_bundle(stand.folder, version="2")
    stand.changed()
    stand.now += ARRIVAL_S
    assert stand.offered == ["toy@1", "toy@2"]


def test_a_new_bundle_is_offered_when_all_workers_have_it(stand: Stand) -> None:
    """Until then it is unknown, and no request for its domains fails that another bundle can do."""
    stand.workers(("toy@1",), ("toy@1",))
    flip_bundle(stand.folder)
    stand.changed()
    assert stand.offered == ["toy@1"]
    stand.workers(("flip@1", "toy@1"), ("toy@1",))
    assert stand.offered == ["toy@1"]
    stand.workers(("flip@1", "toy@1"), ("flip@1", "toy@1"))
    assert stand.offered == ["flip@1", "toy@1"]


def test_a_new_bundle_that_workers_lack_is_offered_in_the_end(stand: Stand) -> None:
    """Then the error says that no worker has it, which is more than that it is unknown."""
    stand.workers(("toy@1",))
    flip_bundle(stand.folder)
    stand.changed()
    stand.now += ARRIVAL_S - 1
    assert stand.offered == ["toy@1"]
    stand.now += 1
    assert stand.offered == ["flip@1", "toy@1"]


def test_a_bundle_that_workers_refuse_is_offered(stand: Stand) -> None:
    """The error has the workers' reason."""
    stand.workers(("toy@1",), refused=("flip@1",))
    flip_bundle(stand.folder)
    stand.changed()
    assert stand.offered == ["flip@1", "toy@1"]


def test_what_left_the_store_is_offered_no_more(stand: Stand) -> None:
    """Though workers have it loaded for a while."""
    flip_bundle(stand.folder)
    stand.changed()
    stand.workers(("flip@1", "toy@1"))
    shutil.rmtree(stand.folder / "flip")
    stand.changed()
    assert stand.offered == ["toy@1"]
