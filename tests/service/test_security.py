"""Keys and rates: which calls need a key, and which requests are counted together."""

from collections.abc import Callable

import httpx
import pytest
from support.services import settings

from service.security import Keys

Start = Callable[..., httpx.Client]

KEY, OTHER = "a-long-enough-key", "näxt-key"
OPEN = ["/", "/page/page.css", "/page/page.js", "/docs", "/openapi.json", "/healthz", "/readyz", "/metrics"]


@pytest.fixture
def locked(serve: Start) -> httpx.Client:
    """A service with two keys."""
    return serve(settings(keys=(KEY, OTHER)))


@pytest.mark.parametrize("path", OPEN)
def test_page_health_and_description_are_open(locked: httpx.Client, path: str) -> None:
    """The page, health checks and the API's description need no key."""
    assert locked.get(path).status_code in (200, 503)


def test_everything_else_needs_a_key(locked: httpx.Client) -> None:
    """Every other call of the API is a 401 without a key, before anything else is checked."""
    paths = locked.get("/openapi.json").json()["paths"]
    guarded = [(method, path) for path, methods in paths.items() for method in methods if path not in OPEN]
    answers = {(method, path): locked.request(method, path) for method, path in guarded}
    assert len(answers) >= 5
    assert {answer.status_code for answer in answers.values()} == {401}
    answer = answers["post", "/translate"]
    assert answer.json()["code"] == "unauthorized"
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer {KEY}"},
        {"X-API-Key": KEY},
        {"X-API-Key": OTHER.encode()},
    ],
)
def test_any_key_opens_in_either_header(locked: httpx.Client, headers: dict[str, str]) -> None:
    """Each key opens the service, as a Bearer token or in X-API-Key."""
    assert locked.get("/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": KEY},
        {"X-API-Key": ""},
        {"X-API-Key": KEY.upper()},
        {"X-API-Key": "é".encode("latin-1")},
    ],
)
def test_nothing_else_opens(locked: httpx.Client, headers: dict[str, str]) -> None:
    """A wrong key, or one that is nearly right, is a 401."""
    assert locked.get("/models", headers=headers).status_code == 401


def test_description_tells_of_keys_only_where_there_are_any(locked: httpx.Client, client: httpx.Client) -> None:
    """OpenAPI asks for a key exactly for the calls that need one."""
    with_keys, without = locked.get("/openapi.json").json(), client.get("/openapi.json").json()
    assert "security" in with_keys["paths"]["/translate"]["post"]
    assert "security" not in with_keys["paths"]["/healthz"]["get"]
    assert "401" in with_keys["paths"]["/models"]["get"]["responses"]
    assert "security" not in without["paths"]["/translate"]["post"]
    assert "401" not in without["paths"]["/models"]["get"]["responses"]


def test_rate_limits_work_and_says_when_to_come_back(serve: Start, picture: bytes) -> None:
    """With a rate of two an hour the third translation is a 429 with Retry-After, and GET /models is not limited."""
    client = serve(settings(rate="2/hour"))
    answers = [client.post("/translate?domains=blond", content=picture) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["code"] == "rate-limited"
    assert 3500 < int(answers[2].headers["retry-after"]) <= 3600
    assert client.get("/models").status_code == 200


def test_each_key_has_its_own_rate(serve: Start, picture: bytes) -> None:
    """Clients behind one address are counted by their keys, whichever header has them."""
    client = serve(settings(rate="1/hour", keys=("one", "two")))
    sent = [{"X-API-Key": "one"}, {"X-API-Key": "two"}, {"Authorization": "Bearer one"}]
    answers = [client.post("/translate?domains=blond", content=picture, headers=headers) for headers in sent]
    assert [answer.status_code for answer in answers] == [200, 200, 429]


def test_guessing_keys_is_limited_but_locks_out_nobody(serve: Start) -> None:
    """Wrong keys are counted by address, also for GET, and the right key still works."""
    client = serve(settings(rate="2/hour", keys=(KEY,)))
    guesses = [client.get("/models", headers={"X-API-Key": f"guess {index}"}) for index in range(3)]
    assert [answer.status_code for answer in guesses] == [401, 401, 429]
    assert client.get("/models", headers={"X-API-Key": KEY}).status_code == 200


def test_without_keys_nothing_fits() -> None:
    """Without configured keys none is needed, and an empty key matches none."""
    assert not Keys([]).needed
    assert Keys([]).find("") is None
