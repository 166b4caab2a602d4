"""Bundles to plan with."""

import pytest
from support.bundles import flip_bundle, toy_bundle

from models.bundle.archive import Bundle
from models.bundle.store import Snapshot, Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """The flip bundle (zebra, horse) ranked before the toy bundle (hair colours, smiling, glasses)."""
    folder = tmp_path_factory.mktemp("store")
    flip_bundle(folder)
    toy_bundle(folder)
    return Store([folder]).snapshot()


@pytest.fixture(scope="module")
def toy(store: Snapshot) -> Bundle:
    """The toy bundle."""
    bundle = store.get("toy")
    assert bundle is not None
    return bundle
