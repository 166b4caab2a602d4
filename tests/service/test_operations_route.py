"""Health and readiness."""

from collections.abc import Callable
from pathlib import Path

import httpx
from support.services import Failing, close, job_parts, running, settings

from models.bundle.store import Store
from service.app import create_app
from worker.embedded import Embedded
from worker.engine.library import Library
from worker.errors import NotReady
from worker.pipeline import Pipeline
from worker.settings import EngineSettings, JobSettings

Start = Callable[..., httpx.Client]


def test_alive_says_nothing_of_models(serve: Start) -> None:
    """/healthz answers 200 even while nothing can be translated."""
    answer = serve(settings(), Failing(NotReady("the models are loading"))).get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


def test_not_ready_gives_the_reason(serve: Start) -> None:
    """/readyz answers 503 with the translator's reason until it is ready."""
    answer = serve(settings(), Failing(NotReady("the models are loading"))).get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "not-ready")
    assert answer.json()["detail"] == "the models are loading"


def test_ready_once_the_bundles_are_loaded(store: Store, tmp_path: Path) -> None:
    """/readyz answers 200 with the number of bundles once they are loaded."""
    engine = EngineSettings(device="cpu", threads=1)
    library = Library(store, engine)
    translator = Embedded(library, engine)
    for bundle in store.snapshot().bundles:
        library.load(bundle).result()
    pipeline = Pipeline(store, translator, settings().limits(), threads=1)
    jobs = job_parts(JobSettings(storage=str(tmp_path)), pipeline)
    try:
        with running(create_app(settings(), pipeline, store, translator, jobs)) as address:
            answer = httpx.get(f"{address}/readyz", trust_env=False)
    finally:
        pipeline.close()
        close(translator)
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "models": 2})
