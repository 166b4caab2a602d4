"""A real S3 server on this machine."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import httpx
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server


@contextmanager
def s3_server() -> Iterator[str]:
    """The URL of an S3 server on a free port.

    It takes one request at a time: in threads, what it looks up before a conditional put may be old when it puts.
    """
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, app, threaded=False)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def s3_environment(endpoint: str) -> dict[str, str]:
    """The environment variables by which a storage finds that server."""
    return {
        "AWS_ENDPOINT": endpoint,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_REGION": "us-east-1",
    }


def new_bucket(endpoint: str) -> str:
    """The URL of a folder in a new bucket on that server."""
    name = f"jobs-{uuid.uuid4().hex}"
    httpx.put(f"{endpoint}/{name}", timeout=60).raise_for_status()
    return f"s3://{name}/some/folder"
