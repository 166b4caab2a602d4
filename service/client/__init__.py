"""The Python client, blocking and async; it stands alone: the standard library and httpx, nothing of service or worker.

    with Client("http://127.0.0.1:8000") as client:
        job = client.submit(Path("photos"), "blond,smiling")
        client.results(job.id, Path("translated"))

`AsyncClient` has the same calls to be awaited. Every call raises a `ClientError`: `Problem` is the service's own
answer, `Unreachable` a broken connection, `InputError` something here that can't be sent.
"""

from service.client.asynchronous import AsyncClient
from service.client.blocking import Client
from service.client.errors import ClientError, InputError, Problem, Unreachable
from service.client.pictures import gather
from service.client.records import Failure, Fetched, Job, Model, Stored, Translated

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
    "gather",
]
