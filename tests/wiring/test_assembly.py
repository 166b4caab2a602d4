"""The parts built on an engine: jobs keep the version that they began with, and the store is followed to the end."""

import asyncio
import logging
import time
from pathlib import Path

import pytest
from support.bundles import flip_bundle
from support.services import png
from support.stored import ZEBRA, put_job

from models.bundle.store import Store
from wiring.engine import engine
from wiring.process import Process
from worker.errors import NotReady
from worker.jobs.board import finished_chunks
from worker.settings import EngineSettings, JobSettings, Limits

PATIENCE_S = 30.0
SETTINGS = EngineSettings(device="cpu", threads=1)


def test_a_job_goes_on_with_the_version_that_it_began_with(tmp_path: Path) -> None:
    """A job uses the version that it names while that is loaded; if it is gone, the error names the present ones."""
    flip_bundle(tmp_path / "store")

    async def scenario() -> list[int]:
        with Process(Store([tmp_path / "store"]), JobSettings(storage=str(tmp_path / "jobs"))) as process:
            async with engine(process, SETTINGS, Limits()) as parts:
                await asyncio.to_thread(parts.library.settle)
                flip_bundle(tmp_path / "store", version="2")
                until = time.monotonic() + PATIENCE_S
                while "flip@2" not in parts.library.loaded:
                    assert time.monotonic() < until
                    await asyncio.sleep(0.05)
                wish = ZEBRA.model_copy(update={"model": "flip@1"})
                job = await put_job(process.storage, {"a.png": png({"black"})}, wish=wish)
                await parts.chunks.do(job, 0)
                gone = await put_job(
                    process.storage, {"a.png": b""}, job_id="gone", wish=wish.model_copy(update={"model": "flip@0"})
                )
                said = r"there is no model 'flip@0' .*; of 'flip' there is version 2, 1"
                with pytest.raises(NotReady, match=said):
                    await parts.chunks.do(gone, 0)
                return [mark.number for mark in await finished_chunks(process.storage, job.id)]

    assert asyncio.run(scenario()) == [0]


def test_the_store_is_followed_until_the_end_and_no_longer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At the end the engine unloads its bundles, and no thread watches the store any more."""
    flip_bundle(tmp_path / "store")
    heard: list[int] = []

    async def scenario(process: Process) -> None:
        async with engine(process, SETTINGS, Limits()) as parts:
            await asyncio.to_thread(parts.library.settle)
            assert parts.library.loaded == ("flip@1",)

    store = Store([tmp_path / "store"])
    with caplog.at_level(logging.INFO), Process(store, JobSettings(storage=str(tmp_path / "jobs"))) as process:
        process.follow(lambda snapshot: heard.append(len(snapshot.bundles)))
        asyncio.run(scenario(process))
        assert "flip@1 is unloaded" in caplog.text
        flip_bundle(tmp_path / "store", name="other")
        until = time.monotonic() + PATIENCE_S
        while heard != [2]:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert [record.levelname for record in caplog.records if record.levelname == "ERROR"] == []
    store.watch()  # StoreError if it were being watched still
    store.close()
