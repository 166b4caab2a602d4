"""The bundles that come with Recast: small, described, and able to run."""

from pathlib import Path

import pytest

import models
from models.bundle.archive import Bundle
from models.bundle.store import Store
from models.recipes import RECIPES
from models.training.start import resolve
from worker.engine.engine import try_bundle
from worker.settings import EngineSettings

FOLDER = Path(models.__file__).parent / "pretrained"
SHIPPED = Store([FOLDER]).snapshot().bundles
MOST = 60_000_000
"""Bytes of all that is shipped."""


def test_the_folder_holds_bundles_and_nothing_is_refused() -> None:
    """A service offers all of them, `avatars` first."""
    snapshot = Store([FOLDER]).snapshot()
    assert snapshot.refused == ()
    assert snapshot.bundles[0].name == "avatars"
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < MOST


@pytest.mark.parametrize("bundle", SHIPPED, ids=lambda bundle: bundle.name)
def test_a_shipped_bundle_runs(bundle: Bundle) -> None:
    """Every graph of each shipped bundle loads and runs."""
    assert try_bundle(bundle, EngineSettings()) is None


@pytest.mark.parametrize("bundle", Store([FOLDER]).snapshot().models, ids=lambda bundle: bundle.name)
def test_a_shipped_bundle_says_how_it_was_trained(bundle: Bundle) -> None:
    """The file of options beside it is one that `recast train --config` takes, and its card has figures."""
    options = resolve(RECIPES[bundle.manifest.family].options_type, {}, FOLDER / f"{bundle.name}.toml", [])
    assert options.model_dump()["size"] == bundle.manifest.picture.size
    assert bundle.manifest.metrics
    assert bundle.manifest.licence.startswith("Apache-2.0")
    assert list(bundle.folder.glob("samples/*.png"))
