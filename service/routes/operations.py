"""Alive and ready, for whoever runs the service; both are open, and neither makes work."""

from fastapi import APIRouter

from service.dependencies import StorePart, TranslatorPart
from service.problems import responses
from service.schemas import Health, Ready

router = APIRouter(tags=["operations"])


@router.get("/healthz", summary="Alive", response_description="Alive.")
async def healthz() -> Health:
    """The process answers; it says nothing of models."""
    return Health()


@router.get("/readyz", summary="Ready to translate", response_description="Ready.", responses=responses("not-ready"))
async def readyz(store: StorePart, translator: TranslatorPart) -> Ready:
    """Pictures can be translated; 503 with the reason until then."""
    await translator.ready()
    return Ready(models=len(store.snapshot().bundles))
