"""A store with the toy and the flip bundle, and one service over it for all tests that change nothing."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest
from support.bundles import flip_bundle, toy_bundle
from support.faces import add_detector
from support.services import png, serving, settings

from models.bundle.store import Store
from service.settings import ServiceSettings
from worker.settings import JobSettings
from worker.storage import Storage
from worker.translator import Translator


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two bundles that translate: toy, then flip by rank. A third one detects faces."""
    ranked = [tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")]
    toy_bundle(ranked[0])
    flip_bundle(ranked[1])
    add_detector(ranked[1])
    return Store(ranked)


@pytest.fixture(scope="session")
def client(store: Store) -> Iterator[httpx.Client]:
    """A client of the shared service, which has the default settings."""
    with serving(store, settings()) as address, _client(address) as client:
        yield client


@pytest.fixture
def serve(store: Store) -> Iterator[Callable[..., httpx.Client]]:
    """Starts a service of the test's own and gives a client of it: the arguments are those of `serving`."""
    with ExitStack() as stack:

        def start(
            settings: ServiceSettings,
            translator: Translator | None = None,
            jobs: JobSettings | None = None,
            storage: Storage | None = None,
        ) -> httpx.Client:
            return stack.enter_context(
                _client(stack.enter_context(serving(store, settings, translator, jobs, storage)))
            )

        yield start


@pytest.fixture
def picture() -> bytes:
    """A PNG of 32x32 pixels that the toy's classifier sees as black-haired and smiling."""
    return png({"black", "smiling"})


def _client(address: str) -> httpx.Client:
    return httpx.Client(base_url=address, timeout=30, trust_env=False)
