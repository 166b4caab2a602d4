"""Health, readiness and metrics for operators; all are open, cheap, and hold nothing about users."""

from fastapi import APIRouter, Response

from service.dependencies import RegistryPart, StorePart, TranslatorPart
from service.problems import responses
from service.schemas import Health, Ready
from worker.exposition import MEDIA_TYPE

router = APIRouter(tags=["operations"])

_METRICS = {"description": "Figures.", "content": {"text/plain": {"schema": {"type": "string"}}}}


@router.get("/healthz", summary="Alive", response_description="Alive.")
async def healthz() -> Health:
    """The process answers; it says nothing of models."""
    return Health()


@router.get("/readyz", summary="Ready to translate", response_description="Ready.", responses=responses("not-ready"))
async def readyz(store: StorePart, translator: TranslatorPart) -> Ready:
    """Pictures can be translated; 503 with the reason until then."""
    await translator.ready()
    return Ready(models=len(store.snapshot().models))


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response, responses={200: _METRICS})
async def metrics(registry: RegistryPart) -> Response:
    """What this process has counted and timed, as Prometheus reads it; each worker has figures of its own."""
    return Response(registry.text(), media_type=MEDIA_TYPE)
