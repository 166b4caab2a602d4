"""Builds the ASGI application from its parts; nothing is global, and wiring opens and closes the parts."""

from typing import Any

from fastapi import Depends, FastAPI
from starlette.staticfiles import StaticFiles

from models.bundle.store import Bundles
from service import problems, security
from service.dependencies import Jobs
from service.envelope import BodyLimit, Envelope, Head
from service.observer import Observer
from service.routes import jobs as job_routes
from service.routes import models, operations, page, translate
from service.settings import ServiceSettings
from service.uploads import MULTIPART_OVERHEAD
from worker.exposition import Registry
from worker.pipeline import Pipeline
from worker.translator import Translator

DESCRIPTION = """A picture and the names of target domains go in, the translated picture comes out.

`domains` is a comma-separated list of `[-]name[:strength]`: `blond` asks for a domain, `-smiling` for its absence,
`blond:0.5` for half of the change, and `*` for a contact sheet of everything that the model can do.

Every error is `application/problem+json` (RFC 9457) with a stable `code`, and its `request_id` in the log."""
_TAGS = [
    {"name": "translate", "description": "Pictures in, pictures out."},
    {"name": "jobs", "description": "Many pictures at once, in the background."},
    {"name": "models", "description": "The bundles and their domains."},
    {"name": "operations", "description": "For operators."},
]


class Service(FastAPI):
    """FastAPI whose OpenAPI description has our problems instead of its own validation errors."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI 3.1 description; the framework keeps it after the first call."""
        made = self.openapi_schema is not None
        schema = super().openapi()
        if not made:
            problems.describe(schema)
        return schema


def create_app(
    settings: ServiceSettings,
    pipeline: Pipeline,
    store: Bundles,
    translator: Translator,
    jobs: Jobs,
    observer: Observer | None = None,
) -> FastAPI:
    """The ASGI application over these parts, which it neither starts nor closes."""
    observer = observer or Observer(Registry())
    app = Service(
        title="Recast",
        summary="Image-to-image translation with GANs.",
        description=DESCRIPTION,
        version="1",
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_tags=_TAGS,
        openapi_url="/openapi.json" if settings.docs else None,
        docs_url=None,  # the framework's pages load scripts from elsewhere; ours are in page/
        redoc_url=None,
        redirect_slashes=False,  # a redirected upload would be sent twice
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.settings = settings
    app.state.pipeline = pipeline
    app.state.store = store
    app.state.translator = translator
    app.state.jobs = jobs
    app.state.registry = observer.registry
    app.state.guard = security.Guard(settings)
    problems.install(app)
    always = problems.responses("internal-error")
    app.include_router(page.router)
    app.mount("/page", StaticFiles(directory=page.FOLDER))
    if settings.docs:
        app.include_router(page.docs)
    # Two dependencies, since OpenAPI must ask for a key exactly if keys are configured.
    door = security.with_key if settings.keys else security.without_key
    codes = ["unauthorized"] * bool(settings.keys) + ["rate-limited"] * bool(settings.rate)
    for router in (translate.router, job_routes.router, models.router):
        app.include_router(router, dependencies=[Depends(door)], responses=always | problems.responses(*codes))
    app.include_router(operations.router, responses=always)
    # The last middleware added is the outermost: Envelope sees the errors of all others.
    limits = {"/translate": settings.max_bytes + MULTIPART_OVERHEAD, "/jobs": jobs.settings.job_bytes}
    app.add_middleware(BodyLimit, paths=limits)
    app.add_middleware(Head)
    app.add_middleware(Envelope, observer=observer)
    return app
