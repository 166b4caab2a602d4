"""The upload page and the page of the API: plain files that need no build, and load nothing from other hosts."""

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
    """The page of the API, which shows /openapi.json."""
    return _html("docs.html")


def _html(name: str) -> FileResponse:
    # no-cache: browsers ask each time, so that a new version of the page shows at once.
    return FileResponse(FOLDER / name, media_type="text/html; charset=utf-8", headers={"Cache-Control": "no-cache"})
