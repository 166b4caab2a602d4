"""The library of engines over real stores: what it loads when, what it unloads, and what it reports."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from support.bundles import flip_bundle, toy_bundle
from support.graphs import failing_bundle

from models.bundle.archive import Bundle
from models.bundle.store import Store
from worker.engine.engine import Engine
from worker.engine.library import GRACE_S, RETRY_S, Library
from worker.errors import EngineError
from worker.settings import EngineSettings

PATIENCE_S = 20.0
AMPLE = 1 << 30


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Warming:
    """Holds back every engine's warm-up until it is let go, and counts them."""

    def __init__(self, warm: Callable[[Engine], None]) -> None:
        self.begun = threading.Semaphore(0)
        self.count = 0
        self._warm = warm
        self._allowed = threading.Event()

    def __call__(self, engine: Engine) -> None:
        self.count += 1
        self.begun.release()
        assert self._allowed.wait(PATIENCE_S)
        self._warm(engine)

    def let_go(self) -> None:
        self._allowed.set()


@pytest.fixture
def warming(monkeypatch: pytest.MonkeyPatch) -> Iterator[Warming]:
    """Warm-ups that the test lets go."""
    held = Warming(Engine.warm)
    monkeypatch.setattr(Engine, "warm", lambda engine: held(engine))
    yield held
    held.let_go()


def library_of(store: Store, *, cache_bytes: int = AMPLE, clock: Callable[[], float] | None = None) -> Library:
    """A library over a store, on the CPU, at a time of its own."""
    settings = EngineSettings(device="cpu", threads=1, cache_bytes=cache_bytes)
    return Library(store, settings, clock=clock or Clock())


def use(library: Library, bundle: Bundle) -> Engine:
    """The bundle's engine, given back at once."""
    with library.engine(bundle) as engine:
        return engine


def size_of(bundle: Bundle) -> int:
    """Bytes of a bundle's graphs."""
    return sum(bundle.graph(name).stat().st_size for name in bundle.manifest.graphs)


def test_an_engine_is_loaded_when_it_is_asked_for(tmp_path: Path) -> None:
    """An engine is loaded at the first request, and every caller gets the same one."""
    flip, _ = flip_bundle(tmp_path), toy_bundle(tmp_path)
    with closing(library_of(Store([tmp_path]))) as library:
        assert list(library.loaded) == []
        assert library.lease(flip) is None
        assert use(library, flip) is use(library, flip)
        assert list(library.loaded) == ["flip@1"]


def test_a_bundle_is_loaded_once_for_all_who_wait(tmp_path: Path, warming: Warming) -> None:
    """However many ask while it loads, there is one load, and all get its engine."""
    flip = flip_bundle(tmp_path)
    with closing(library_of(Store([tmp_path]))) as library, ThreadPoolExecutor(4) as pool:
        load = library.load(flip)
        assert warming.begun.acquire(timeout=PATIENCE_S)
        assert library.load(flip) is load
        users = [pool.submit(use, library, flip) for _ in range(4)]
        warming.let_go()
        assert len({id(user.result(PATIENCE_S)) for user in users}) == 1
        assert warming.count == 1


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    """Beyond the limit of bytes the engine that was used longest ago is unloaded, not the one loaded first."""
    first, second, third = (toy_bundle(tmp_path, name=name) for name in ("first", "second", "third"))
    with closing(library_of(Store([tmp_path]), cache_bytes=2 * size_of(first))) as library:
        for bundle in (first, second, first, third):
            use(library, bundle)
        assert list(library.loaded) == ["first@1", "third@1"]
        use(library, second)
        assert list(library.loaded) == ["third@1", "second@1"]


def test_an_engine_in_use_is_never_unloaded(tmp_path: Path) -> None:
    """A leased engine stays beyond the limit, runs, and goes when it is given back and another was used since."""
    flip, toy = flip_bundle(tmp_path), toy_bundle(tmp_path)
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    with closing(library_of(Store([tmp_path]), cache_bytes=1)) as library:
        with library.engine(flip) as engine:
            use(library, toy)
            assert list(library.loaded) == ["flip@1", "toy@1"]
            assert (engine.run("zebra", {"pixels": pixels})["translated"] == 255).all()
        assert list(library.loaded) == ["toy@1"]
        with pytest.raises(EngineError, match="closed"):
            engine.run("zebra", {"pixels": pixels})


def test_an_engine_within_the_limit_stays_unused(tmp_path: Path) -> None:
    """Time alone unloads nothing that the store still holds."""
    flip, toy, clock = flip_bundle(tmp_path), toy_bundle(tmp_path), Clock()
    with closing(library_of(Store([tmp_path]), clock=clock)) as library:
        use(library, flip)
        clock.now += 10 * GRACE_S
        use(library, toy)
        assert list(library.loaded) == ["flip@1", "toy@1"]


def test_a_bundle_larger_than_the_limit_is_served(tmp_path: Path) -> None:
    """The engine used last stays, so that a small limit does not load it anew for every request."""
    toy = toy_bundle(tmp_path)
    with closing(library_of(Store([tmp_path]), cache_bytes=1)) as library:
        assert use(library, toy) is use(library, toy)


def test_follow_loads_by_rank_what_fits(tmp_path: Path) -> None:
    """The first-ranked bundles are loaded ahead; one beyond the limit is left out, and smaller ones follow."""
    alpha = flip_bundle(tmp_path, name="alpha")
    toy_bundle(tmp_path, name="beta")
    flip_bundle(tmp_path, name="gamma")
    store = Store([tmp_path])
    with closing(library_of(store, cache_bytes=2 * size_of(alpha))) as library:
        library.follow()
        library.load(store.snapshot().bundles[2]).result(PATIENCE_S)
        assert list(library.loaded) == ["alpha@1", "gamma@1"]
        assert library.unready() is None


def test_follow_loads_the_first_bundle_whatever_its_size(tmp_path: Path, warming: Warming) -> None:
    """A limit below the first-ranked bundle's size does not leave the service without any model."""
    toy_bundle(tmp_path)
    with closing(library_of(Store([tmp_path]), cache_bytes=1)) as library:
        library.follow()
        assert warming.begun.acquire(timeout=PATIENCE_S)
        assert library.unready() == "1 of 1 bundles are still being loaded"
        warming.let_go()


def test_a_replaced_bundle_is_loaded_beside_the_old(tmp_path: Path, warming: Warming) -> None:
    """While the new engine loads the old one serves; then each bundle has its own, and the old goes after its grace."""
    old, clock = flip_bundle(tmp_path), Clock()
    warming.let_go()
    store = Store([tmp_path])
    with closing(library_of(store, clock=clock)) as library:
        former = use(library, old)
        flip_bundle(tmp_path, version="2")
        snapshot = store.refresh()
        library.follow(snapshot)
        assert use(library, old) is former
        (new,) = snapshot.bundles
        library.load(new).result(PATIENCE_S)
        assert list(library.loaded) == ["flip@1", "flip@2"]
        assert use(library, new) is not former
        clock.now += GRACE_S
        use(library, new)
        assert list(library.loaded) == ["flip@2"]


def test_a_bundle_with_the_same_name_and_version_is_new_all_the_same(tmp_path: Path) -> None:
    """New files under the same version are loaded as well."""
    old = toy_bundle(tmp_path)
    store = Store([tmp_path])
    with closing(library_of(store)) as library:
        former = use(library, old)
        toy_bundle(tmp_path, extra_domains=("hat",))
        (new,) = store.refresh().bundles
        assert use(library, new) is not former
        assert use(library, new).bundle.manifest.label_order[-1] == "hat"


def test_a_replaced_bundle_does_not_count_towards_the_limit(tmp_path: Path) -> None:
    """A replaced engine stays for the requests that began with it, and drives out no other bundle."""
    old, toy = flip_bundle(tmp_path), toy_bundle(tmp_path)
    store = Store([tmp_path])
    with closing(library_of(store, cache_bytes=size_of(old) + size_of(toy))) as library:
        use(library, toy)
        use(library, old)
        flip_bundle(tmp_path, version="2")
        new = store.refresh().get("flip@2")
        assert new is not None
        use(library, new)
        assert set(library.loaded) == {"toy@1", "flip@1", "flip@2"}


def test_a_bundle_that_does_not_load_is_reported_and_the_others_go_on(tmp_path: Path) -> None:
    """A bundle that does not load is refused with its reason, and the others are served."""
    failing, flip = failing_bundle(tmp_path), flip_bundle(tmp_path)
    with closing(library_of(Store([tmp_path]))) as library:
        library.follow()
        with pytest.raises(EngineError, match="failing@1: graph 'generator' made values that are not finite"):
            use(library, failing)
        use(library, flip)
        assert list(library.loaded) == ["flip@1"]
        assert list(library.refused) == ["failing@1"]
        assert library.unready() is None


def test_a_refused_bundle_is_tried_again_after_a_while(tmp_path: Path) -> None:
    """A refusal lasts for RETRY_S; then the bundle is tried again, and the refusal is forgotten."""
    flip, clock = flip_bundle(tmp_path), Clock()
    graph = flip.graph("zebra")
    content = graph.read_bytes()
    with closing(library_of(Store([tmp_path]), clock=clock)) as library:
        graph.write_bytes(b"damaged")
        with pytest.raises(EngineError, match="flip@1"):
            use(library, flip)
        graph.write_bytes(content)
        clock.now += RETRY_S - 1
        with pytest.raises(EngineError, match="flip@1"):
            use(library, flip)
        clock.now += 1
        assert use(library, flip).bundle is flip
        assert library.refused == {}


def test_an_unexpected_error_tells_no_details(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error is logged with its traceback, and the refusal names only its class."""

    def warm(engine: Engine) -> None:
        raise MemoryError("/secret/path")

    monkeypatch.setattr(Engine, "warm", warm)
    flip = flip_bundle(tmp_path)
    with closing(library_of(Store([tmp_path]))) as library:
        with pytest.raises(EngineError):
            use(library, flip)
        assert library.refused == {"flip@1": "flip@1 does not load: unexpected MemoryError"}


def test_a_mended_bundle_is_no_longer_refused(tmp_path: Path) -> None:
    """When the store holds a sound bundle in place of the refused one, following it clears the refusal at once."""
    failing = failing_bundle(tmp_path, name="mended")
    store = Store([tmp_path])
    with closing(library_of(store)) as library:
        with pytest.raises(EngineError):
            use(library, failing)
        flip_bundle(tmp_path, name="mended")
        snapshot = store.refresh()
        library.follow(snapshot)
        assert use(library, snapshot.bundles[0]).providers
        assert library.refused == {}


def test_an_empty_store_is_not_ready_until_a_bundle_comes(tmp_path: Path, warming: Warming) -> None:
    """Without bundles `unready` says so; with the first one it waits until that is warm."""
    store = Store([tmp_path])
    with closing(library_of(store)) as library:
        library.follow()
        assert library.unready() == "the store holds no bundle that can be served"
        flip_bundle(tmp_path)
        snapshot = store.refresh()
        assert library.unready() == "loading has not begun"
        library.follow(snapshot)
        assert warming.begun.acquire(timeout=PATIENCE_S)
        assert library.unready() == "1 of 1 bundles are still being loaded"
        load = library.load(snapshot.bundles[0])
        warming.let_go()
        load.result(PATIENCE_S)
        assert library.unready() is None


def test_a_store_of_bad_bundles_is_not_ready(tmp_path: Path) -> None:
    """When nothing loads, `unready` has the reasons of the engine and of the store."""
    failing = failing_bundle(tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "bundle.json").write_text("{}")
    with closing(library_of(Store([tmp_path]))) as library:
        library.follow()
        with pytest.raises(EngineError):
            library.load(failing).result(PATIENCE_S)
        reason = library.unready()
    assert reason is not None
    assert reason.startswith(
        "no bundle can be loaded; failing@1: graph 'generator' made values that are not finite in translated; "
    )
    assert "broken" in reason


def test_a_bundle_is_found_by_name_and_version(tmp_path: Path, warming: Warming) -> None:
    """`find` returns the store's bundles, and those that left it while they are in memory."""
    old = toy_bundle(tmp_path)
    store = Store([tmp_path])
    warming.let_go()
    with closing(Library(store, EngineSettings(device="cpu", threads=1))) as library:
        assert library.find("toy@1") == old
        with library.engine(old):
            new = toy_bundle(tmp_path, version="2")
            store.refresh()
            assert (library.find("toy@1"), library.find("toy@2")) == (old, new)
        assert library.find("toy@3") is None


def test_it_tells_what_it_serves_and_where_it_runs(tmp_path: Path) -> None:
    """When the first bundles are settled, those that load are served, on the providers that they really run on."""
    flip_bundle(tmp_path)
    failing_bundle(tmp_path)
    with closing(Library(Store([tmp_path]), EngineSettings(device="cpu", threads=1))) as library:
        assert not library.providers
        library.follow()
        assert library.settle() is None
        assert library.served == ("flip@1",)
        assert library.providers == ("CPUExecutionProvider",)


def test_a_closed_library_loads_nothing(tmp_path: Path) -> None:
    """After close() nothing is loaded or leased, and releasing a lease is harmless."""
    flip = flip_bundle(tmp_path)
    library = library_of(Store([tmp_path]))
    library.load(flip).result(PATIENCE_S)
    engine = library.lease(flip)
    assert engine is not None
    library.close()
    library.release(engine)
    assert library.lease(flip) is None
    with pytest.raises(EngineError, match="the library is closed"):
        use(library, flip)


def test_closing_cancels_no_load(tmp_path: Path, warming: Warming) -> None:
    """A waiting load ends in an engine or an error, never cancelled: its waiters would take that for their own."""
    flip, toy = flip_bundle(tmp_path), toy_bundle(tmp_path)
    library = library_of(Store([tmp_path]))
    library.load(flip)
    assert warming.begun.acquire(timeout=PATIENCE_S)
    waiting = library.load(toy)
    with ThreadPoolExecutor(1) as pool:
        closed = pool.submit(library.close)
        warming.let_go()
        closed.result(PATIENCE_S)
    assert not waiting.cancelled()
    assert isinstance(waiting.exception(0), EngineError | None)
    assert list(library.loaded) == []
