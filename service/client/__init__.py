"""The Python client, blocking and async; it stands alone: httpx, pydantic and `worker.wish`, nothing else of ours.

    with Client("http://127.0.0.1:8000") as client:
        job = client.submit(Path("photos"), "blond,smiling")
        client.results(job.id, Path("translated"))

`AsyncClient` has the same calls to be awaited. Every call raises a `ClientError`: `Problem` is the service's own
answer, `Unreachable` a broken connection, `InputError` something here that can't be sent.
"""

from service.client.calls import Stored, gather
from service.client.clients import AsyncClient, Client
from service.client.values import (
    ClientError,
    Failure,
    Fetched,
    InputError,
    Job,
    Model,
    Problem,
    Translated,
    Unreachable,
)
from worker.wish import Wish

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "Failure",
    "Fetched",
    "InputError",
    "Job",
    "Model",
    "Problem",
    "Stored",
    "Translated",
    "Unreachable",
    "Wish",
    "gather",
]
