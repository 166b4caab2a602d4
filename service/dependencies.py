"""What the routes are handed: the parts that `create_app` was given, and the moment when a request's time is up."""

import time
from typing import Annotated

from fastapi import Depends, Request

from models.bundle.store import Bundles
from service.parts import Jobs
from service.settings import ServiceSettings
from worker.exposition import Registry
from worker.pipeline import Pipeline
from worker.translator import Translator


async def settings(request: Request) -> ServiceSettings:
    """The settings of this application."""
    found: ServiceSettings = request.app.state.settings
    return found


async def pipeline(request: Request) -> Pipeline:
    """One picture in, one picture out."""
    found: Pipeline = request.app.state.pipeline
    return found


async def store(request: Request) -> Bundles:
    """The bundles."""
    found: Bundles = request.app.state.store
    return found


async def translator(request: Request) -> Translator:
    """The door to inference; asked here only whether it is ready."""
    found: Translator = request.app.state.translator
    return found


async def jobs(request: Request) -> Jobs:
    """Many pictures together, through storage."""
    found: Jobs = request.app.state.jobs
    return found


async def registry(request: Request) -> Registry:
    """What was counted and timed in this process."""
    found: Registry = request.app.state.registry
    return found


async def deadline(settings: Annotated[ServiceSettings, Depends(settings)]) -> float:
    """The moment of `time.monotonic()` when this request's time is up; it starts before the body is read."""
    return time.monotonic() + settings.deadline_s


Settings = Annotated[ServiceSettings, Depends(settings)]
PipelinePart = Annotated[Pipeline, Depends(pipeline)]
StorePart = Annotated[Bundles, Depends(store)]
TranslatorPart = Annotated[Translator, Depends(translator)]
JobsPart = Annotated[Jobs, Depends(jobs)]
RegistryPart = Annotated[Registry, Depends(registry)]
Deadline = Annotated[float, Depends(deadline)]
