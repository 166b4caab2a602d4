"""Calls to URLs that strangers give, with a receiver that misbehaves."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from support.receivers import Reply, certificate, receiver

from worker.caller import LONGEST_URL, Caller, CallError, Resolver, Response
from worker.errors import InvalidParameter

TRUSTS_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def call(
    url: str,
    *,
    private: bool = True,
    look_up: Callable[[str], Iterable[str]] | None = None,
    total_s: float = 10.0,
    tls: ssl.SSLContext = TRUSTS_NOBODY,
) -> Response:
    """One call, with a body of two letters."""
    caller = Caller(private=private, total_s=total_s, resolver=Resolver(look_up), tls=tls)
    try:
        return asyncio.run(caller.post(caller.target(url), b"{}", {"webhook-id": "x"}))
    finally:
        caller.close()


def leads_to(*addresses: str) -> Callable[[str], Iterable[str]]:
    """A name server that gives every name these addresses."""
    return lambda host: addresses


def test_what_is_posted_arrives() -> None:
    """The receiver gets the call's body, headers, path and query; of its answer only the head is returned."""
    with receiver(Reply(202, {"Retry-After": "7"}, b"body")) as there:
        assert call(there.url(path="/a%20b?c=d")) == Response(202, "7")
    (request,) = there.received
    assert request.path == "/a%20b?c=d"
    assert request.body == b"{}"
    assert request.headers["host"] == f"127.0.0.1:{there.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == "x"


@pytest.mark.parametrize("location", ["http://169.254.169.254/latest/meta-data", "/elsewhere"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int, location: str) -> None:
    """A redirect is an answer like any other, wherever it leads."""
    with receiver(Reply(status, {"Location": location})) as there:
        assert call(there.url()).status == status
    assert len(there.received) == 1


def test_a_receiver_that_hangs_is_given_up() -> None:
    """A call takes no longer than it may in total, though the connection was made at once."""
    with receiver(Reply(hang=True)) as there, pytest.raises(CallError, match=r"no answer came within 0\.5 seconds"):
        call(there.url(), total_s=0.5)


def test_a_receiver_that_drips_is_given_up() -> None:
    """A receiver that sends a byte now and then can't prolong a call."""
    with receiver(Reply(slow=True)) as there, pytest.raises(CallError, match="no answer came"):
        call(there.url(), total_s=0.5)


def test_a_name_server_that_hangs_is_given_up() -> None:
    """The look-up of the name counts as well."""
    hung = threading.Event()

    def look_up(host: str) -> list[str]:
        hung.wait(10)
        return []

    try:
        with pytest.raises(CallError, match="no answer came"):
            call("https://example.org/", look_up=look_up, total_s=0.1)
    finally:
        hung.set()


def test_an_endless_answer_is_not_read() -> None:
    """An endless body is never read: the head is enough."""
    with receiver(Reply(200, endless=True)) as there:
        assert call(there.url()).status == 200


def test_a_broken_connection_and_a_missing_one_have_different_errors() -> None:
    """A broken connection and one that could not be made have different errors, neither with the address."""
    with receiver(Reply(drop=True)) as there, pytest.raises(CallError, match="broke before an answer"):
        call(there.url())
    with pytest.raises(CallError, match="no connection could be made") as error:
        call(there.url())
    assert "127.0.0.1" not in str(error.value)


def test_a_name_that_leads_into_ones_own_network_is_refused() -> None:
    """A name that the system resolves to this machine is refused when it is called; nothing connects."""
    with receiver() as there, pytest.raises(CallError, match="may not be called") as error:
        call(there.url("localhost", scheme="https"), private=False)
    assert error.value.forbidden
    assert there.received == []


@pytest.mark.parametrize("address", ["169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "0.0.0.0"])
def test_one_bad_address_among_good_ones_is_enough(address: str) -> None:
    """Every address of a name must be allowed, also if private networks are."""
    with receiver() as there, pytest.raises(CallError, match="may not be called"):
        call(there.url("example.org"), look_up=leads_to("127.0.0.1", address))
    assert there.received == []


def test_a_name_is_looked_up_once_a_call_and_anew_for_the_next() -> None:
    """A name server that changes its answer is asked once for each call, and the next call finds the change."""
    answers = [["127.0.0.1"], ["169.254.169.254"]]
    with receiver() as there:
        caller = Caller(private=True, resolver=Resolver(lambda host: answers.pop(0)))
        url = caller.target(there.url("example.org"))
        assert asyncio.run(caller.post(url, b"{}", {})).status == 204
        assert len(answers) == 1
        with pytest.raises(CallError, match="may not be called"):
            asyncio.run(caller.post(url, b"{}", {}))
        caller.close()
    assert len(there.received) == 1


def test_the_next_address_is_tried_where_one_takes_no_connection() -> None:
    """A name may lead to several machines, and one of them may be down."""
    with receiver() as there:
        assert call(there.url("example.org"), look_up=leads_to("127.0.0.2", "127.0.0.1")).status == 204


def leads_nowhere(host: str) -> Iterable[str]:
    """A name server that knows no name."""
    raise OSError("ns.intern: NXDOMAIN")


@pytest.mark.parametrize("found", [leads_to(), leads_nowhere])
def test_a_name_that_leads_nowhere_may_be_tried_again(found: Callable[[str], Iterable[str]]) -> None:
    """An unknown name is an error that may go away, and does not show what the name server said."""
    with pytest.raises(CallError) as error:
        call("https://example.org/", look_up=found)
    assert not error.value.forbidden
    assert "intern" not in str(error.value)


def test_the_certificate_is_checked_for_the_name_and_not_for_the_address(tmp_path: Path) -> None:
    """The connection goes to the checked address; TLS and HTTP get the name, in its ASCII form."""
    server, client = certificate("xn--exmple-cua.org", tmp_path)
    with receiver(tls=server) as there:
        url = there.url("exämple.org", scheme="https")
        assert call(url, look_up=leads_to("127.0.0.1"), tls=client).status == 204
    assert there.names == ["xn--exmple-cua.org"]
    assert there.received[0].headers["host"] == f"xn--exmple-cua.org:{there.port}"


def test_another_ones_certificate_is_not_accepted(tmp_path: Path) -> None:
    """A certificate for another name is refused, and so is one of an unknown authority."""
    server, client = certificate("example.net", tmp_path)
    with receiver(tls=server) as there:
        url = there.url("example.org", scheme="https")
        for tls in (client, TRUSTS_NOBODY):
            with pytest.raises(CallError, match="certificate was not accepted"):
                call(url, look_up=leads_to("127.0.0.1"), tls=tls)
    assert there.received == []


def test_neither_proxies_of_the_environment_nor_cookies_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the URL decides where a call goes, and nothing is kept between two calls."""
    with receiver() as proxy, receiver(Reply(200, {"Set-Cookie": "a=b; Path=/"})) as there:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url())
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        caller = Caller(private=True)
        for _ in range(2):
            asyncio.run(caller.post(caller.target(there.url()), b"{}", {}))
        caller.close()
    assert len(there.received) == 2
    assert proxy.received == []
    assert all("cookie" not in request.headers for request in there.received)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "begins with ''"),
        ("hook", "begins with ''"),
        ("/hook", "begins with ''"),
        ("http://example.org/", "only https"),
        ("ftp://example.org/", "only https"),
        ("file:///etc/passwd", "only https"),
        ("https://", "host name"),
        ("https:///hook", "host name"),
        ("https://a..b/", "host name"),
        ("https://example.org%00/", "host name"),
        ("https://exa mple.org/", "host name"),
        (f"https://{'a' * 64}.org/", "host name"),
        ("https://[::1", "no URL"),
        ("https://[fe80::1%25eth0]/", "host name"),
        ("https://example.org\n/", "no URL"),
        ("https://someone@example.org/", "user name"),
        ("https://someone:secret@example.org/", "user name"),
        ("https://example.org\\@example.net/", "user name"),
        ("https://example.org:0/", "port 0"),
        ("https://example.org:65536/", "port 65536"),
        ("https://127.0.0.1/", "127.0.0.1 may not be called"),
        ("https://127.1/", "127.0.0.1 may not be called"),
        ("https://2130706433/", "127.0.0.1 may not be called"),
        ("https://0x7f.1/", "127.0.0.1 may not be called"),
        ("https://169.254.169.254/", "may not be called"),
        ("https://[::1]:8443/", "may not be called"),
        ("https://[::ffff:127.0.0.1]/", "may not be called"),
        (f"https://example.org/{'a' * LONGEST_URL}", "at most 2000"),
    ],
)
def test_a_url_that_may_not_be_called_is_refused_before_anything_is_looked_up(url: str, why: str) -> None:
    """Each bad URL is refused with its own reason."""
    caller = Caller(resolver=Resolver(leads_nowhere))
    with pytest.raises(InvalidParameter, match=why):
        caller.target(url)
    caller.close()


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org",
        "HTTPS://EXAMPLE.ORG/Hook?token=a%20b",
        "https://example.org:8443/hook",
        "https://exämple.org/hook",
        "https://a_b.example.org/",
        "https://1.1.1.1/",
        "https://[2606:4700:4700::1111]:443/",
        f"https://example.org/{'a' * (LONGEST_URL - 20)}",
    ],
)
def test_public_urls_are_accepted(url: str) -> None:
    """Any name that can be looked up, and any port, is accepted."""
    caller = Caller()
    assert str(caller.target(url)).lower().startswith("https://")
    caller.close()


@pytest.mark.parametrize("url", ["http://example.org/", "http://127.0.0.1:8000/", "https://10.0.0.1/", "http://[::1]/"])
def test_private_urls_are_accepted_where_that_is_said(url: str) -> None:
    """Plain http and private addresses go together."""
    caller = Caller(private=True)
    caller.target(url)
    with pytest.raises(InvalidParameter):
        caller.target("http://169.254.169.254/")
    caller.close()
