"""Jobs over HTTP: POST /jobs accepts many pictures, the other calls show the job's state in storage."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Annotated
from urllib.parse import quote

import anyio
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import StreamingResponse

from service import uploads
from service.dependencies import Jobs, JobsPart, PipelinePart, Settings
from service.problems import responses
from service.schemas import (
    JOB_ID,
    KEY,
    JobFailure,
    JobInfo,
    JobList,
    JobPicture,
    JobPictures,
    JobPicturesQuery,
    JobQuery,
    JobsQuery,
    JobSummary,
)
from worker.errors import RecastError, UnknownJob
from worker.jobs import results
from worker.jobs.board import Status
from worker.jobs.intake import id_of
from worker.jobs.layout import Outcome
from worker.storage import StorageError

router = APIRouter(tags=["jobs"])

FAILURES = 100
"""Failures that the description of one job lists, at most."""

PING_S = 10
"""Seconds between the comments that keep a quiet connection open."""
PAUSE_S = 0.2
"""Seconds between two events, at least: the state of a job with many pictures takes time to read from storage."""
FAREWELL_S = 1.0
"""Seconds that a stream has to end when the server stops."""

_ACCEPTED = {
    "headers": {
        "Location": {"description": "The job's path.", "schema": {"type": "string"}},
        "Idempotent-Replayed": {
            "description": "`true` if an earlier request with this key started the job.",
            "schema": {"type": "string", "enum": ["true"]},
        },
    }
}
_EVENTS = {
    "description": "`progress` at each change, then one `end`; the data of both are the job as in the list of jobs. "
    "The id of an event is the number of finished pictures.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}
_ZIP = {"description": "A ZIP.", "content": {"application/zip": {}}}
_PICTURE = {"description": "The picture.", "content": {"image/*": {}}}
_PROBLEMS = (
    "unreadable-image",
    "unknown-model",
    "idempotency-conflict",
    "too-large",
    "unsupported-media-type",
    "unknown-domain",
    "invalid-domains",
    "invalid-parameter",
    "not-ready",
    "timed-out",
)

# The framework publishes the pattern but does not check it: a malformed id is a 404 like any unknown one, not a 422.
_ID = Path(alias="id", description="The job's id.", json_schema_extra={"pattern": JOB_ID})


async def _valid_id(job_id: Annotated[str, _ID]) -> str:
    """The id in the path; checks it before it becomes part of a name in storage."""
    if not re.fullmatch(JOB_ID, job_id):
        raise UnknownJob(f"there is no job {job_id[:100]!r}")
    return job_id


JobId = Annotated[str, Depends(_valid_id)]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=KEY,
        description="1 to 255 visible ASCII characters; the same key and the same request give the same job.",
    ),
]
LastEvent = Annotated[
    str | None, Header(alias="Last-Event-ID", description="The id of the last event that the client has.")
]


@router.post(
    "/jobs",
    status_code=202,
    summary="Start a job",
    response_description="The accepted job. From now on the service finishes it, even after crashes.",
    responses={202: _ACCEPTED, **responses(*_PROBLEMS)},
    openapi_extra={"requestBody": uploads.JOB_BODY},
)
async def start_job(
    request: Request,
    response: Response,
    query: Annotated[JobQuery, Query()],
    settings: Settings,
    pipeline: PipelinePart,
    jobs: JobsPart,
    key: Key = None,
) -> JobInfo:
    """Translates every picture of a form, a ZIP or a folder in storage, each as /translate does.

    The service stores pictures as they arrive. A picture that can't be translated fails alone, and the job goes on.
    """
    # All pictures get the version of this moment, even if a newer one comes before the last of them is done.
    refs = {step.bundle.ref for step in pipeline.plan(query.wish).steps}
    picked = refs.pop() if len(refs) == 1 else None
    if query.webhook is not None:
        jobs.courier.check(query.webhook)
    folders = await uploads.folders(request, idle_s=settings.deadline_s)
    source, destination = (folders.source, folders.destination) if folders else (None, None)
    upload = await jobs.intake.begin(
        query.wish, key=key, webhook=query.webhook, source=source, destination=destination, picked=picked
    )
    try:
        if folders:
            await upload.add_source()
        else:
            await uploads.pictures(request, upload, max_bytes=settings.max_bytes, idle_s=settings.deadline_s)
        job, new = await upload.commit()
    finally:
        await upload.abort()  # removes nothing of an accepted job
    if new:
        await jobs.runner.wake(job.id)
    else:
        response.headers["Idempotent-Replayed"] = "true"
    try:
        status = await jobs.board.status(job.id)
    except StorageError:
        status = Status(job, "queued", 0, 0)  # the job is accepted: after an error the client would send it again
    info = await _info(jobs, status, request)
    response.headers["Location"] = info.links.self
    return info


@router.get(
    "/jobs",
    summary="List the jobs",
    response_description="The jobs.",
    responses=responses("unknown-job", "invalid-parameter", "not-ready"),
)
async def list_jobs(request: Request, query: Annotated[JobsQuery, Query()], jobs: JobsPart) -> JobList:
    """The jobs that are not over, then those that are, both with the newest first, a page at a time."""
    if query.idempotency_key is not None:
        try:
            status = await jobs.board.status(id_of(query.idempotency_key))
        except UnknownJob:
            return JobList(jobs=(), next=None)
        return JobList(jobs=(JobSummary.of(status, _root(request)),), next=None)
    found = await jobs.board.statuses(limit=query.limit + 1, before=query.before)
    shown = found[: query.limit]
    more = shown[-1].job.id if len(found) > len(shown) else None
    return JobList(jobs=tuple(JobSummary.of(status, _root(request)) for status in shown), next=more)


@router.get(
    "/jobs/{id}", summary="One job", response_description="The job.", responses=responses("unknown-job", "not-ready")
)
async def show_job(job_id: JobId, request: Request, jobs: JobsPart) -> JobInfo:
    """State, progress and failures of a job."""
    return await _info(jobs, await jobs.board.status(job_id), request)


@router.delete(
    "/jobs/{id}",
    summary="Cancel a job",
    response_description="The job as it is now.",
    responses=responses("unknown-job", "not-ready"),
)
async def cancel_job(job_id: JobId, request: Request, jobs: JobsPart) -> JobInfo:
    """Cancels a job. Finished pictures stay, and a job that is over does not change."""
    status = await jobs.board.cancel(job_id)
    await jobs.runner.wake(job_id)
    return await _info(jobs, status, request)


@router.get(
    "/jobs/{id}/events",
    summary="Follow a job",
    response_class=Response,
    responses={200: _EVENTS, **responses("unknown-job", "not-ready")},
)
async def show_events(job_id: JobId, request: Request, jobs: JobsPart, last: LastEvent = None) -> Response:
    """A job's progress as server-sent events, until it is over; a client that reconnects gets what it missed."""
    await jobs.board.status(job_id)
    stopping = anyio.Event()
    events = _events(jobs, job_id, _root(request), last, stopping)
    return EventSourceResponse(events, ping=PING_S, shutdown_event=stopping, shutdown_grace_period=FAREWELL_S)


@router.get(
    "/jobs/{id}/pictures",
    summary="Results and failures",
    response_description="Finished pictures.",
    responses=responses("unknown-job", "invalid-parameter", "not-ready"),
)
async def list_pictures(job_id: JobId, query: Annotated[JobPicturesQuery, Query()], jobs: JobsPart) -> JobPictures:
    """The name of the result, or the failure, of each finished picture, a page at a time."""
    outcomes, following = await jobs.board.outcomes(await jobs.board.job(job_id), query.after)
    return JobPictures(pictures=tuple(JobPicture(**outcome.model_dump()) for outcome in outcomes), next=following)


@router.get(
    "/jobs/{id}/results",
    summary="All results",
    response_class=Response,
    responses={200: _ZIP, **responses("unknown-job", "unknown-result", "not-ready")},
)
async def show_results(job_id: JobId, jobs: JobsPart) -> Response:
    """All finished results as a ZIP, made while it is sent; its `failures.json` lists the pictures that failed."""
    job = await jobs.board.job(job_id)
    return _streamed(
        results.archive(jobs.storage, jobs.roots, job), "application/zip", f"recast-{job_id}.zip", "attachment"
    )


@router.get(
    "/jobs/{id}/results/{name:path}",
    summary="One result",
    response_class=Response,
    responses={200: _PICTURE, **responses("unknown-job", "unknown-result", "not-ready")},
)
async def show_result(job_id: JobId, name: str, jobs: JobsPart) -> Response:
    """One translated picture, by its name in the ZIP."""
    job = await jobs.board.job(job_id)
    pieces, media_type = await results.picture(jobs.storage, jobs.roots, job, name)
    return _streamed(pieces, media_type, name.rpartition("/")[2], "inline")


async def _info(jobs: Jobs, status: Status, request: Request) -> JobInfo:
    failures: Sequence[Outcome] = await jobs.board.failures(status.job.id, FAILURES) if status.failed else ()
    listed = tuple(
        JobFailure(name=failure.name, code=failure.code or "", reason=failure.reason or "") for failure in failures
    )
    return JobInfo(**dict(JobSummary.of(status, _root(request))), failures=listed)


def _root(request: Request) -> str:
    root: str = request.scope.get("root_path", "")
    return root


def _streamed(pieces: AsyncIterator[bytes], media_type: str, name: str, disposition: str) -> Response:
    headers = {
        "Content-Disposition": f"{disposition}; filename*=UTF-8''{quote(name, safe='')}",
        "Cache-Control": "no-store",
    }
    return StreamingResponse(pieces, media_type=media_type, headers=headers)


async def _events(
    jobs: Jobs, job_id: str, root: str, last: str | None, stopping: anyio.Event
) -> AsyncIterator[ServerSentEvent]:
    """The job's events; `last` is the id of the last event that the client got from an earlier stream."""
    sent: object = None
    async with aclosing(_news(jobs, job_id, stopping)) as news:
        async for _ in news:
            try:
                status = await jobs.board.status(job_id)
            except RecastError:
                return  # Storage fails, or the job is gone: the client reconnects, and gets a problem as its answer.
            count = str(status.done + status.failed)
            now = status.state, count, status.position
            over = status.ended_at is not None
            # `end` is always sent: the client may have the last count, but not know that the job is over.
            if over or (now != sent and not (sent is None and count == last)):
                data = JobSummary.of(status, root).model_dump_json()
                yield ServerSentEvent(data, event="end" if over else "progress", id=count)
            if over:
                return
            sent = now
            await asyncio.sleep(PAUSE_S)


async def _news(jobs: Jobs, job_id: str, stopping: anyio.Event) -> AsyncGenerator[None, None]:
    """The runner's news, until the server stops; then the stream ends properly, and not as a broken connection."""
    stopped = asyncio.ensure_future(stopping.wait())
    async with aclosing(jobs.runner.news(job_id)) as news:
        coming = asyncio.ensure_future(_next(news))
        try:
            while True:
                await asyncio.wait((coming, stopped), return_when=asyncio.FIRST_COMPLETED)
                if stopped.done() or not coming.result():
                    return
                yield
                coming = asyncio.ensure_future(_next(news))
        finally:
            for task in (coming, stopped):
                task.cancel()
            await asyncio.gather(coming, stopped, return_exceptions=True)


async def _next(news: AsyncIterator[None]) -> bool:
    """Waits for news; False if there is no more."""
    async for _ in news:
        return True
    return False
