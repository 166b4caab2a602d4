"""Every error is a problem (RFC 9457) with the code, the status and the members that the contract promises."""

from collections.abc import Callable

import httpx
import pytest
from support.bundles import toy_picture
from support.services import Failing, encoded, settings

from service.problems import KINDS, responses
from worker import errors
from worker.errors import NotReady, Overloaded, RecastError

Start = Callable[..., httpx.Client]

PNG = encoded(toy_picture({"black"}), "PNG")
REFUSED = [
    ("?domains=blond", b"", {}, 400, "unreadable-image"),
    ("?domains=blond", PNG[: len(PNG) // 2], {}, 400, "unreadable-image"),
    ("?domains=blond", b"--nothing", {"Content-Type": "multipart/form-data; boundary=x"}, 400, "unreadable-image"),
    ("?domains=blond", b"x", {"Content-Type": "multipart/form-data"}, 400, "unreadable-image"),
    ("?domains=blond&model=nobody", PNG, {}, 404, "unknown-model"),
    ("?domains=blond&model=toy@7", PNG, {}, 404, "unknown-model"),
    ("?domains=blond", b"%PDF-1.7", {}, 415, "unsupported-media-type"),
    ("?domains=blond", b"<svg xmlns='http://www.w3.org/2000/svg'/>", {}, 415, "unsupported-media-type"),
    ("?domains=blond", PNG, {"Content-Type": "text/plain"}, 415, "unsupported-media-type"),
    ("?domains=blond", PNG, {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported-media-type"),
    ("?domains=blond", PNG, {"Content-Encoding": "gzip"}, 415, "unsupported-media-type"),
    ("?domains=blnd", PNG, {}, 422, "unknown-domain"),
    ("?domains=blond,brown", PNG, {}, 422, "invalid-domains"),
    ("?domains=blond:3", PNG, {}, 422, "invalid-domains"),
    ("?domains=-zebra", PNG, {}, 422, "invalid-domains"),
    ("?domains=", PNG, {}, 422, "invalid-domains"),
    ("?domains=blond&region=face", PNG, {}, 422, "no-face"),
    ("?domains=*&region=face", PNG, {}, 422, "no-face"),
    ("?domains=blond&region=nose", PNG, {}, 422, "invalid-parameter"),
    ("", PNG, {}, 422, "invalid-parameter"),
    ("?domains=blond&strength=nan", PNG, {}, 422, "invalid-parameter"),
    ("?domains=blond&strength=-1", PNG, {}, 422, "invalid-parameter"),
    ("?domains=blond&quality=0", PNG, {}, 422, "invalid-parameter"),
    ("?domains=blond&format=gif", PNG, {}, 422, "invalid-parameter"),
]


@pytest.mark.parametrize(("query", "body", "headers", "status", "code"), REFUSED)
def test_bad_requests_are_problems(
    client: httpx.Client, query: str, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    """Each bad request has its own code, and an answer of the standard form."""
    answer = client.post(f"/translate{query}", content=body, headers=headers)
    check_problem(answer, status, code)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not-found"),
        ("GET", "/page/nothing.css", 404, "not-found"),
        ("GET", "/models/", 404, "not-found"),
        ("GET", "/models/nobody", 404, "unknown-model"),
        ("GET", "/models/nobody/samples/blond.png", 404, "unknown-model"),
        ("GET", "/models/toy/samples/nothing.png", 404, "not-found"),
        ("GET", "/translate", 405, "method-not-allowed"),
        ("DELETE", "/models", 405, "method-not-allowed"),
        ("POST", "/", 405, "method-not-allowed"),
    ],
)
def test_wrong_paths_and_methods_are_problems(
    client: httpx.Client, method: str, path: str, status: int, code: str
) -> None:
    """Unknown paths, models and methods are problems too."""
    answer = client.request(method, path)
    check_problem(answer, status, code)
    assert (status == 405) == ("allow" in answer.headers)


def test_unknown_domain_carries_the_known_and_the_nearest(client: httpx.Client, picture: bytes) -> None:
    """The problem of a misspelt domain has the known ones and the nearest spelling."""
    problem = client.post("/translate?domains=blnd", content=picture).json()
    assert problem["nearest"] == "blond"
    assert {"blond", "zebra"} <= set(problem["known"])


def test_unknown_model_carries_the_known(client: httpx.Client, picture: bytes) -> None:
    """The problem of an unknown model has the known ones."""
    problem = client.post("/translate?domains=blond&model=nobody", content=picture).json()
    assert problem["known"] == client.get("/models/nobody").json()["known"] == ["toy", "flip"]


def test_misspelt_parameter_is_not_ignored(client: httpx.Client, picture: bytes) -> None:
    """The problem of `domain=` names it, the allowed parameters, and `domains` as the nearest."""
    problem = client.post("/translate?domain=blond", content=picture).json()
    assert problem["code"] == "invalid-parameter"
    assert problem["parameter"] == "domain"
    assert "domains" in problem["allowed"]
    assert "'domains'" in problem["detail"]


@pytest.mark.parametrize(
    ("query", "parameter", "value", "allowed"),
    [
        ("quality=101", "quality", "101", {"type": "integer", "minimum": 1, "maximum": 100}),
        ("strength=much", "strength", "much", {"type": "number", "minimum": 0, "maximum": 2}),
        ("size=big", "size", "big", ["original", "model"]),
        ("format=tiff", "format", "tiff", ["jpeg", "png", "webp", "avif"]),
    ],
)
def test_invalid_parameter_names_value_and_limit(
    client: httpx.Client, picture: bytes, query: str, parameter: str, value: str, allowed: object
) -> None:
    """The problem of a wrong value has the parameter, the value and the allowed ones."""
    problem = client.post(f"/translate?domains=blond&{query}", content=picture).json()
    assert (problem["parameter"], problem["value"], problem["allowed"]) == (parameter, value, allowed)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"picture": ("a.png", PNG)}, "'picture' is not known"),
        ({"domains": (None, "blond")}, "'domains' is not known"),
        ({"image": (None, "text")}, "is text"),
    ],
)
def test_forms_without_one_picture_are_explained(
    client: httpx.Client, fields: dict[str, tuple[str | None, bytes]], text: str
) -> None:
    """A form with other fields, or a field that is no file, is a 422 that names the field."""
    answer = client.post("/translate?domains=blond", files=fields)
    check_problem(answer, 422, "invalid-parameter")
    assert text in answer.json()["detail"]


def test_two_pictures_are_one_too_many(client: httpx.Client) -> None:
    """A form with two pictures is refused."""
    answer = client.post("/translate?domains=blond", files=[("image", PNG), ("image", PNG)])
    check_problem(answer, 422, "invalid-parameter")
    assert "2 fields" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (Overloaded("the queue is full", retry_after=2.4), 503, "3"),
        (Overloaded("the queue is full", retry_after=0.0), 503, "1"),
        (NotReady("no model is loaded yet"), 503, None),
    ],
)
def test_what_the_translator_refuses_is_passed_on(
    serve: Start, picture: bytes, error: RecastError, status: int, retry_after: str | None
) -> None:
    """A translator's refusal keeps its code and has Retry-After in whole seconds."""
    answer = serve(settings(), Failing(error)).post("/translate?domains=blond", content=picture)
    check_problem(answer, status, error.code)
    assert answer.headers.get("retry-after") == retry_after


def test_unknown_errors_are_logged_whole_and_answered_blank(
    serve: Start, picture: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer to an unforeseen error shows nothing of it, and the log has it under the request's id."""
    client = serve(settings(), Failing(RuntimeError("secret in /srv/models")))
    answer = client.post("/translate?domains=blond", content=picture, headers={"X-Request-Id": "find-me"})
    check_problem(answer, 500, "internal-error")
    assert "secret" not in answer.text
    logged = [record for record in caplog.records if "find-me" in record.getMessage()]
    assert [record.exc_info is not None and "secret" in str(record.exc_info[1]) for record in logged] == [True]


def test_table_has_every_error_that_the_worker_can_raise() -> None:
    """The code of each error class has a status and a title."""
    raised = [
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.RecastError) and hasattr(each, "code")
    ]
    assert len(raised) >= 11
    assert {each.code for each in raised} <= {kind.code for kind in KINDS}


def test_codes_that_are_not_in_the_table_are_refused() -> None:
    """`responses` raises KeyError for a code that does not exist."""
    with pytest.raises(KeyError, match="no-such-code"):
        responses("too-large", "no-such-code")


def check_problem(answer: httpx.Response, status: int, code: str) -> None:
    """The answer is a problem of this code, complete, and about this request."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == code
    assert problem["status"] == status
    assert problem["type"] == f"/docs#{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
