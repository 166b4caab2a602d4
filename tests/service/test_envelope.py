"""What wraps every request: ids, headers, and bodies that are too long, too slow or given up."""

import socket
from collections.abc import Callable

import httpx
import pytest
from fastapi import FastAPI
from support.bundles import toy_picture
from support.services import Stuck, encoded, running, settings
from support.sockets import WAIT_S, assert_closed_with, connected

from service.envelope import SMALL_BODY, BodyLimit, Envelope
from service.observer import Observer
from service.problems import install
from service.uploads import MULTIPART_OVERHEAD
from worker.exposition import Registry

Start = Callable[..., httpx.Client]

LIMIT = 50_000


def test_request_id_is_taken_over_or_made(client: httpx.Client) -> None:
    """A client's well-formed request id is kept; otherwise each request gets a new one."""
    assert client.get("/healthz", headers={"X-Request-Id": "abc-1.2:3"}).headers["x-request-id"] == "abc-1.2:3"
    made = {client.get("/healthz").headers["x-request-id"] for _ in range(2)}
    assert len(made) == 2


@pytest.mark.parametrize("offered", ["", "two words", "x" * 101, "<script>"])
def test_odd_request_ids_are_replaced(client: httpx.Client, offered: str) -> None:
    """A request id that could confuse a log is replaced."""
    assert client.get("/healthz", headers={"X-Request-Id": offered}).headers["x-request-id"] != offered


@pytest.mark.parametrize("path", ["/", "/docs", "/healthz", "/models", "/nothing", "/page/page.css"])
def test_every_answer_has_the_security_headers(client: httpx.Client, path: str) -> None:
    """Every answer forbids sniffing, framing and referrers."""
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_may_only_load_their_own_files(client: httpx.Client, path: str) -> None:
    """The policy of pages allows no inline code and no other host, and that of other answers allows nothing."""
    policy = client.get(path).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "style-src 'self';" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "sandbox" in client.get("/healthz").headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/", "/healthz", "/models"])
def test_head_is_get_without_the_body(client: httpx.Client, path: str) -> None:
    """HEAD is answered with the head of GET and no body."""
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


def test_announced_length_is_refused_at_once(serve: Start) -> None:
    """A Content-Length above the limit is a 413 before the body is sent, and the connection closes."""
    with connected(serve(settings(max_bytes=LIMIT))) as connection:
        send_head(connection, "Content-Length: 1000000")
        assert_closed_with(connection, 413, "too-large")


def test_unannounced_length_is_counted(serve: Start) -> None:
    """A chunked body without an end is a 413 as soon as it is longer than the limit."""
    with connected(serve(settings(max_bytes=LIMIT))) as connection:
        send_head(connection, "Transfer-Encoding: chunked")
        # Not a byte more than it takes: closing over unread bytes resets the connection, and the answer is lost.
        for chunk in (b"x" * (LIMIT + MULTIPART_OVERHEAD), b"x"):
            connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        assert_closed_with(connection, 413, "too-large")


def test_limit_is_the_pictures_not_the_forms(serve: Start) -> None:
    """A picture of exactly the limit's length passes in a form, and one byte more does not."""
    picture = encoded(toy_picture(set()), "PNG")
    fits = serve(settings(max_bytes=len(picture)))
    tight = serve(settings(max_bytes=len(picture) - 1))
    assert fits.post("/translate?domains=blond", files={"image": picture}).status_code == 200
    assert tight.post("/translate?domains=blond", files={"image": picture}).json()["code"] == "too-large"


def test_too_many_pixels_are_too_large(serve: Start) -> None:
    """A picture with more pixels than the settings allow is a 413."""
    answer = serve(settings(max_pixels=1000)).post(
        "/translate?domains=blond", content=encoded(toy_picture(set()), "PNG")
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")


def test_slow_uploads_run_out_of_time(serve: Start) -> None:
    """An upload that stops in the middle is a 504, and the connection closes."""
    with connected(serve(settings(deadline_s=0.2))) as connection:
        send_head(connection, "Content-Length: 1000")
        connection.sendall(b"a beginning")
        assert_closed_with(connection, 504, "timed-out")


def test_work_ends_with_the_deadline(serve: Start, picture: bytes) -> None:
    """A translation that takes too long is a 504, and it is cancelled."""
    stuck = Stuck()
    answer = serve(settings(deadline_s=0.2), stuck).post("/translate?domains=blond", content=picture)
    assert (answer.status_code, answer.json()["code"]) == (504, "timed-out")
    assert stuck.dropped.wait(WAIT_S)


def test_hanging_up_drops_the_work(serve: Start, picture: bytes) -> None:
    """When the client hangs up, its translation is cancelled long before the deadline."""
    stuck = Stuck()
    client = serve(settings(deadline_s=3600), stuck)
    with connected(client) as connection:
        send_head(connection, f"Content-Length: {len(picture)}")
        connection.sendall(picture)
        assert stuck.begun.wait(WAIT_S)
        assert not stuck.dropped.is_set()
    assert stuck.dropped.wait(WAIT_S)
    assert client.get("/healthz").status_code == 200


def test_hanging_up_during_the_upload_is_no_error(
    serve: Start, picture: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that hangs up in the middle of its upload leaves no error in the log."""
    client = serve(settings())
    with connected(client) as connection:
        send_head(connection, "Content-Length: 1000")
        connection.sendall(b"a beginning")
    assert client.post("/translate?domains=blond", content=picture).status_code == 200
    assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


def test_limit_holds_where_the_framework_reads_the_body() -> None:
    """A JSON body is limited too, and paths without a limit of their own accept a small body."""
    app = FastAPI()

    @app.post("/json")
    @app.post("/other")
    async def keys(body: dict[str, str]) -> list[str]:
        return list(body)

    install(app)
    app.add_middleware(BodyLimit, paths={"/json": 10})
    app.add_middleware(Envelope, observer=Observer(Registry()))
    with running(app) as address, httpx.Client(base_url=address, trust_env=False) as client:
        assert client.post("/json", json={"a": "b"}).json() == ["a"]
        assert client.post("/json", json={"a": "bcdefg"}).json()["code"] == "too-large"
        assert client.post("/json", content=iter([b'{"a":', b'"bcdefg"}'])).json()["code"] == "too-large"
        assert client.post("/other", json={"a": "bcdefg"}).json() == ["a"]
        assert client.post("/other", json={"a": "b" * SMALL_BODY}).json()["code"] == "too-large"


def send_head(connection: socket.socket, length: str) -> None:
    """The head of POST /translate, for a raw picture of the given length."""
    head = ["POST /translate?domains=blond HTTP/1.1", "Host: test", "Content-Type: image/png", length, "", ""]
    connection.sendall("\r\n".join(head).encode())
