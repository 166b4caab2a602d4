"""A pipeline over the `store` of a test module, with a record of its translator's calls."""

import asyncio
from collections.abc import Iterator

import pytest
from support.translators import Recorder

from models.bundle.store import Store
from worker.embedded import Embedded
from worker.engine.library import Library
from worker.pipeline import Pipeline
from worker.settings import EngineSettings, Limits


@pytest.fixture(scope="module")
def translator(store: Store) -> Iterator[Recorder]:
    """The real translator, with a record of its calls."""
    settings = EngineSettings(device="cpu", threads=1)
    embedded = Embedded(Library(store, settings), settings)
    yield Recorder(embedded)
    asyncio.run(embedded.close())


@pytest.fixture
def pipeline(store: Store, translator: Recorder) -> Iterator[Pipeline]:
    """A pipeline over the store, the translator's record wiped."""
    translator.calls.clear()
    pipeline = Pipeline(store, translator, Limits(), threads=2)
    yield pipeline
    pipeline.close()
