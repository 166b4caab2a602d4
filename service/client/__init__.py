"""The Python client, blocking and async; it needs httpx, pydantic and `worker.wish`, and nothing else of ours.

    with Client("http://127.0.0.1:8000") as client:
        job = client.submit(Path("photos"), "blond,smiling")
        client.results(job.id, Path("translated"))

`AsyncClient` has the same calls as coroutines. The calls raise `ClientError`: `Problem` for an error that the service
answers, `Unreachable` for a broken connection, `InputError` for something that can't be sent.
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
