"""The Python client's single calls: answers, problems, retries, and what it loads; jobs are in test_client_jobs.py."""

import asyncio
import inspect
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Response
from support.lines import ALL, line
from support.services import Failing, running, settings

from service import client as package
from service.client import AsyncClient, Client, ClientError, InputError, Problem, Translated, Unreachable, Wish
from worker.errors import Overloaded

Serve = Callable[..., httpx.Client]


@pytest.fixture
def address(client: httpx.Client) -> str:
    """The service that all tests share."""
    return str(client.base_url)


@pytest.fixture
def recast(address: str) -> Iterator[Client]:
    """A client of it that repeats no call."""
    with Client(address, patience=0) as found:
        yield found


def answering(*answers: Response) -> FastAPI:
    """A server that gives these answers in order to any request, and then the last one for ever."""
    app, waiting = FastAPI(), list(answers)

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def answer() -> Response:
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    return app


def problem(status: int, code: str, retry_after: str | None = None) -> Response:
    """A problem as the service answers it."""
    headers = {"Content-Type": "application/problem+json"} | ({"Retry-After": retry_after} if retry_after else {})
    return Response(f'{{"code": "{code}", "detail": "it is so"}}', status, headers)


def test_a_picture_is_translated(recast: Client, client: httpx.Client, picture: bytes, tmp_path: Path) -> None:
    """`translate` of bytes or a file gives the picture of the plain call, with its labels, model and timings."""
    plain = client.post("/translate?domains=blond,-smiling&format=png", content=picture)
    (tmp_path / "in.png").write_bytes(picture)
    for source in (picture, tmp_path / "in.png"):
        answer = recast.translate(source, Wish(domains=("blond", "-smiling"), format="png"))
        assert (answer.data, answer.media_type, answer.model) == (plain.content, "image/png", "toy@1")
        assert answer.domains == {"black": 0, "blond": 1, "brown": 0, "grey": 0, "smiling": 0, "glasses": 0}
        assert list(answer.timings) == ["decode", "queue", "infer", "compose", "encode"]


def test_every_parameter_arrives(recast: Client, client: httpx.Client, picture: bytes) -> None:
    """The query has the fields of the wish."""
    query = {"domains": "blond", "model": "toy@1", "strength": "0.5", "region": "whole", "size": "model"}
    plain = client.post("/translate", params=query | {"format": "jpeg", "quality": "50"}, content=picture)
    wish = Wish(
        domains=("blond",), model="toy@1", strength=0.5, region="whole", size="model", format="jpeg", quality=50
    )
    answer = recast.translate(picture, wish)
    assert plain.status_code == 200
    assert answer.data == plain.content


def test_the_async_client_translates_many_at_once(address: str, picture: bytes) -> None:
    """Of many calls at once, each gets its own answer."""

    hair = ["black", "blond", "brown", "grey"]

    async def ask() -> list[Translated]:
        async with AsyncClient(address) as recast:
            return await asyncio.gather(*(recast.translate(picture, name) for name in hair))

    answers = asyncio.run(ask())
    assert [[name for name in hair if answer.domains[name]] for answer in answers] == [[name] for name in hair]


def test_models_and_domains_are_listed(recast: Client) -> None:
    """`models` gives the bundles in the order of rank, and `domains` the bundles of each domain."""
    assert [model.ref for model in recast.models()] == ["toy@1", "flip@1"]
    assert "blond" in recast.models()[0].domains
    assert recast.domains()["blond"] == ("toy@1",)


def test_a_problem_says_all_that_the_service_said(recast: Client, picture: bytes) -> None:
    """A Problem has code, status, sentence, request id and the members of its code."""
    with pytest.raises(Problem, match="did you mean 'smiling'") as caught:
        recast.translate(picture, "smilling")
    found = caught.value
    assert (found.code, found.status, found.retry_after) == ("unknown-domain", 422, None)
    assert found.extras["nearest"] == "smiling"
    assert "blond" in found.extras["known"]
    assert found.request_id


@pytest.mark.parametrize(("key", "code"), [(None, "unauthorized"), ("wrong", "unauthorized"), ("gröss", None)])
def test_the_key_opens_the_service(serve: Serve, key: str | None, code: str | None) -> None:
    """The right key opens the service, whatever letters it has, and a wrong one raises Problem."""
    with Client(str(serve(settings(keys=("gröss",))).base_url), key) as recast:
        if code is None:
            assert recast.domains()
            return
        with pytest.raises(Problem) as caught:
            recast.domains()
        assert caught.value.code == code


@pytest.mark.parametrize("length", [2 << 20, 30 << 20])
def test_a_refusal_in_the_middle_of_a_body_is_heard(recast: Client, length: int) -> None:
    """When the service refuses a long picture and closes the connection, `translate` raises the service's problem."""
    with pytest.raises(Problem) as caught:
        recast.translate(bytes(length), "blond")
    assert caught.value.code == "too-large"


def test_what_may_pass_is_waited_out() -> None:
    """A call to an overloaded or limited service, or a failing gateway, is repeated, and on_trouble is called."""
    listed = Response('{"domains": [{"name": "blond", "models": ["toy@1"]}]}', 200)
    busy = [problem(503, "overloaded", "0"), problem(429, "rate-limited"), Response("<html>", 502), problem(500, "x")]
    told: list[ClientError] = []
    with (
        running(answering(*busy, listed)) as url,
        Client(url, on_trouble=lambda error, pause: told.append(error)) as recast,
    ):
        assert recast.domains() == {"blond": ("toy@1",)}
    assert [getattr(error, "code", "unreachable") for error in told] == [
        "overloaded",
        "rate-limited",
        "unreachable",
        "x",
    ]


def test_patience_has_an_end(serve: Serve, picture: bytes) -> None:
    """A Retry-After longer than the patience raises the problem at once."""
    failing = Failing(Overloaded("too much to do", retry_after=3600))
    with (
        Client(str(serve(settings(), failing).base_url), patience=60) as recast,
        pytest.raises(Problem) as caught,
    ):
        recast.translate(picture, "blond")
    assert (caught.value.code, caught.value.retry_after) == ("overloaded", 3600)


@pytest.mark.parametrize("broken", [0, 100])
def test_a_question_is_asked_again_when_the_connection_breaks(address: str, broken: int) -> None:
    """A call whose connection breaks twice, before or in the answer, succeeds at the third attempt."""
    with line(address) as there, Client(there.address) as recast:
        there.breaks.extend([(ALL, broken), (ALL, broken)])
        assert "blond" in recast.domains()
        assert there.taken == 3


def test_a_picture_is_not_sent_twice(address: str, picture: bytes) -> None:
    """`translate` is not repeated when the connection breaks, and the error has `sent`."""
    with line(address) as there, Client(there.address) as recast:
        there.breaks.append((ALL, 0))
        with pytest.raises(Unreachable) as caught:
            recast.translate(picture, "blond")
        assert caught.value.sent
        assert there.taken == 1


def test_nobody_there_is_unreachable() -> None:
    """Without a server the error is Unreachable, was not `sent` and has the address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with Client(url, patience=0) as recast, pytest.raises(Unreachable, match=url) as caught:
            recast.translate(b"", "blond")
    assert not caught.value.sent


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Response("<html>", 200, media_type="text/html"), "answers 200 with text/html"),
        (Response('{"domain": []}', 200, media_type="application/json"), "answers 200 with application/json"),
        (Response("nothing", 404, media_type="text/plain"), "answers 404 with text/plain"),
        (Response(status_code=308, headers={"Location": "https://there/"}), "leads to https://there/"),
    ],
)
def test_another_server_is_recognised(answer: Response, said: str) -> None:
    """The answer of another program is the Problem `not-recast` with its status and type."""
    with running(answering(answer)) as url, Client(url) as recast, pytest.raises(Problem, match=said) as caught:
        recast.domains()
    assert caught.value.code == "not-recast"


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://there", "http://", "", "http://[::1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    """A malformed address raises InputError with an example."""
    with pytest.raises(InputError, match="address"):
        Client(url)


def test_what_is_no_key_is_refused() -> None:
    """A key with a line break raises InputError."""
    with pytest.raises(InputError, match="key"):
        Client("http://there", "key\r\nX-Other: 1")


def test_a_file_that_is_not_there_is_named(recast: Client, tmp_path: Path) -> None:
    """The error for a missing file has its path."""
    with pytest.raises(InputError, match=r"gone\.png"):
        recast.translate(tmp_path / "gone.png", "blond")


def test_the_blocking_client_works_where_a_loop_runs(address: str) -> None:
    """Client works within a running event loop, as in a notebook."""

    async def cell() -> dict[str, tuple[str, ...]]:
        with Client(address) as recast:
            return recast.domains()

    assert "blond" in asyncio.run(cell())


def test_both_clients_have_the_same_calls() -> None:
    """Client and AsyncClient have the same public methods with the same parameters and defaults."""

    def calls(kind: type) -> dict[str, list[str]]:
        methods = inspect.getmembers(kind, inspect.isfunction)
        return {
            name: [str(parameter) for parameter in inspect.signature(method).parameters.values()]
            for name, method in methods
            if not name.startswith("_") or name == "__init__"
        }

    assert calls(Client) == calls(AsyncClient)
    assert "results" in calls(Client)


def test_the_client_stands_alone() -> None:
    """In a fresh process the client loads httpx and pydantic, and of our own modules only itself and the wish."""
    script = "import sys, service.client; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"httpx", "pydantic"} <= loaded
    assert {"models", "fastapi", "starlette", "pydantic_settings", "numpy", "PIL"}.isdisjoint(loaded)
    ours = {name for name in loaded if name.partition(".")[0] in ("service", "worker")}
    assert {name for name in ours if not name.startswith("service.client")} == {"service", "worker", "worker.wish"}


def test_everything_public_is_there() -> None:
    """`from service.client import *` has the clients and the errors."""
    assert all(hasattr(package, name) for name in package.__all__)
    assert {"Client", "AsyncClient", "Problem", "Unreachable"} <= set(package.__all__)
