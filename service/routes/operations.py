"""Health, readiness and metrics for operators; all need no key, are cheap, and say nothing about users."""

from fastapi import APIRouter, Response

from service.dependencies import RegistryPart, StorePart, TranslatorPart
from service.problems import responses
from service.schemas import Health, Ready
from worker.exposition import MEDIA_TYPE

router = APIRouter(tags=["operations"])

_METRICS = {"description": "The metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}


@router.get("/healthz", summary="Alive", response_description="Alive.")
async def healthz() -> Health:
    """Answers as long as the process lives, whether or not it can translate."""
    return Health()


@router.get("/readyz", summary="Ready to translate", response_description="Ready.", responses=responses("not-ready"))
async def readyz(store: StorePart, translator: TranslatorPart) -> Ready:
    """Answers 200 if pictures can be translated, else 503 with the reason."""
    await translator.ready()
    return Ready(models=len(store.snapshot().models))


@router.get("/metrics", summary="Metrics for Prometheus", response_class=Response, responses={200: _METRICS})
async def metrics(registry: RegistryPart) -> Response:
    """The metrics of this process in Prometheus' text format; each worker has its own."""
    return Response(registry.text(), media_type=MEDIA_TYPE)
