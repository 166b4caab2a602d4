"""Which bundles a service with a broker offers: its store and its workers see a change at different moments.

A service that planned with its own store alone would ask for versions that no worker has yet, or no longer has.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence

from models.bundle.archive import Bundle
from models.bundle.store import Snapshot, Store
from worker.queue.beats import Beat

ARRIVAL_S = 10.0
"""Seconds for which a new bundle is not offered while workers lack it; after that an error says that they do."""


class Offer:
    """The store's bundles, each in the version that most workers have; safe to use from any thread.

    A version that has left the store is offered for as long as more workers have it than its successor: they keep it
    loaded while it is used.
    """

    def __init__(
        self, store: Store, crew: Callable[[], Sequence[Beat]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`crew` gives the last beat of each living worker; without workers, all bundles of the store are offered."""
        self._store, self._crew, self._clock = store, crew, clock
        self._since = dict.fromkeys(store.snapshot().bundles, -ARRIVAL_S + clock())
        self._left: tuple[Bundle, ...] = ()

    def follow(self, snapshot: Snapshot) -> None:
        """Notes which bundles are new and which have left; call it with every later snapshot of the store."""
        now, names = self._clock(), {bundle.name for bundle in snapshot.bundles}
        had = {ref for beat in self._crew() for ref in beat.bundles}
        left = dict.fromkeys((*self._since, *self._left))
        present = set(snapshot.bundles)
        # The version that left last comes first. A name that left the store altogether is not offered any more.
        self._left = tuple(b for b in left if b not in present and b.name in names and b.ref in had)
        self._since = {bundle: self._since.get(bundle, now) for bundle in snapshot.bundles}

    def snapshot(self) -> Snapshot:
        """The bundles that can be asked for now, in the store's order."""
        snapshot, crew = self._store.snapshot(), self._crew()
        had = Counter(ref for beat in crew for ref in beat.bundles)
        # Also without workers, where both are 0.
        if all(had[bundle.ref] == len(crew) for bundle in snapshot.bundles):
            return snapshot
        answered = had + Counter(ref for beat in crew for ref in beat.refused)
        since, now = self._since, self._clock()
        versions: dict[str, list[Bundle]] = {}
        for bundle in (*snapshot.bundles, *self._left):
            versions.setdefault(bundle.name, []).append(bundle)
        offered: dict[Bundle, None] = {}
        for bundle in snapshot.bundles:
            # Of equals the first one wins: the bundle itself.
            best = max((bundle, *versions[bundle.name]), key=lambda version: had[version.ref])
            arriving = now - since.get(bundle, now) < ARRIVAL_S and answered[bundle.ref] < len(crew)
            if best is not bundle:
                offered.setdefault(best)
            if not arriving:
                offered.setdefault(bundle)
        return Snapshot(tuple(offered), snapshot.refused)
