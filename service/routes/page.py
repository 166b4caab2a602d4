"""The upload page and the description of the API; files without a build, which load nothing from elsewhere."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

FOLDER = Path(__file__).parent.parent / "page"
router = APIRouter(include_in_schema=False)
docs = APIRouter(include_in_schema=False)


@router.get("/")
async def show_page() -> FileResponse:
    """The upload page."""
    return _html("index.html")


@docs.get("/docs")
async def show_docs() -> FileResponse:
    """Every call, as /openapi.json describes it."""
    return _html("docs.html")


def _html(name: str) -> FileResponse:
    return FileResponse(FOLDER / name, media_type="text/html; charset=utf-8", headers={"Cache-Control": "no-cache"})
