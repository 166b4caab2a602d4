"""GET /models and /domains: the bundles of the stores; no coroutines, so that a slow disk never blocks the loop."""

from contextlib import suppress
from pathlib import PurePosixPath
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from models.bundle.archive import Bundle, BundleError
from models.bundle.store import Snapshot
from service.dependencies import StorePart
from service.problems import NotFound, responses
from service.schemas import DomainInfo, DomainList, KnownDomain, ModelInfo, ModelList, RefusedInfo
from worker.errors import UnknownModelError
from worker.imaging.formats import by_extension

router = APIRouter(tags=["models"])


@router.get("/models", summary="List the models", response_description="The bundles.")
def list_models(request: Request, store: StorePart) -> ModelList:
    """Every bundle, in the order of rank, and the refused folders with the reasons."""
    snapshot = store.snapshot()
    return ModelList(
        models=tuple(_info(bundle, request) for bundle in snapshot.models),
        refused=tuple(RefusedInfo(name=refused.folder, reason=refused.reason) for refused in snapshot.refused),
    )


@router.get(
    "/models/{name}", summary="One model", response_description="The bundle.", responses=responses("unknown-model")
)
def show_model(name: str, request: Request, store: StorePart) -> ModelInfo:
    """One bundle, by `name` (its newest version) or `name@version`."""
    return _info(_find(store.snapshot(), name), request)


@router.get(
    "/models/{name}/samples/{file:path}",
    summary="A sample picture",
    response_class=Response,
    responses={
        200: {"description": "The picture.", "content": {"image/*": {}}},
        **responses("not-found", "unknown-model"),
    },
)
def show_sample(name: str, file: str, request: Request, store: StorePart) -> Response:
    """One of the sample pictures that the bundle's manifest lists."""
    bundle = _find(store.snapshot(), name)
    path = f"samples/{file}"
    if path not in [sample.file for sample in bundle.manifest.samples]:
        raise NotFound(f"{bundle.ref} has no sample {file[:100]!r}")
    etag = f'"{bundle.manifest.files[path]}"'
    # Browsers may keep the picture, but ask each time whether its hash is still the same.
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    try:
        content = bundle.load(path)
    except BundleError:
        raise NotFound(f"{bundle.ref} is being replaced; ask again") from None
    known = by_extension(PurePosixPath(path).suffix)
    return Response(content, media_type=known.media_type if known else "application/octet-stream", headers=headers)


@router.get("/domains", summary="List the domains", response_description="The domains.")
def list_domains(store: StorePart) -> DomainList:
    """Every domain, and the bundles that know it."""
    known = store.snapshot().domains()
    return DomainList(
        domains=tuple(KnownDomain(name=name, models=tuple(bundle.ref for bundle in known[name])) for name in known)
    )


def _find(snapshot: Snapshot, ref: str) -> Bundle:
    bundle = snapshot.get(ref)
    if bundle not in snapshot.models:
        known = tuple(dict.fromkeys(bundle.name for bundle in snapshot.models))
        raise UnknownModelError(f"there is no model {ref[:100]!r}; there are {', '.join(known) or 'none'}", known=known)
    return bundle


def _info(bundle: Bundle, request: Request) -> ModelInfo:
    manifest = bundle.manifest
    size = 0
    for file in manifest.files:
        # A bundle that is just being replaced may lack files; the next snapshot has the new one.
        with suppress(FileNotFoundError):
            size += (bundle.folder / file).stat().st_size
    root = f"{request.scope.get('root_path', '')}/models/{quote(bundle.ref, safe='@')}/samples/"
    return ModelInfo(
        name=manifest.name,
        version=manifest.version,
        title=manifest.title or manifest.name,
        family=manifest.family,
        task=manifest.task,
        domains=tuple(
            DomainInfo(name=each.name, group=each.group, aliases=each.aliases, negatable=each.column is not None)
            for each in manifest.domains
        ),
        groups={name: tuple(member.name for member in members) for name, members in manifest.groups.items()},
        picture=manifest.picture,
        licence=manifest.licence,
        metrics=manifest.metrics,
        samples=tuple(root + quote(sample.file.removeprefix("samples/")) for sample in manifest.samples),
        size_bytes=size,
        precision=manifest.precision,
    )
