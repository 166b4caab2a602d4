"""Calls a URL that a stranger gave, without becoming the stranger's hand inside one's own network.

What could turn a call elsewhere is left out: redirects, proxies of the environment, cookies, kept connections. The name
is looked up once for each call, every address that it leads to must be one that may be called, and the connection goes
to the address that was checked, while the certificate is checked for the name.
"""

import asyncio
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from worker.addresses import Address, Resolver, literal, may_call
from worker.errors import InvalidParameter

LONGEST_URL = 2000
"""Characters."""

_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")


@dataclass(frozen=True)
class Answer:
    """The head of what was answered."""

    status: int
    """HTTP status; a redirect's is one like any other."""
    retry_after: str
    """The header, or nothing."""


class CallError(Exception):
    """Nothing was answered; `str(error)` is safe to show, `detail` is for the log alone.

    `forbidden`: it must not even be tried again.
    """

    def __init__(self, reason: str, *, detail: object = None, forbidden: bool = False) -> None:
        super().__init__(reason)
        self.detail = f"{reason} ({detail})" if detail else reason
        self.forbidden = forbidden


class Caller:
    """Posts to public addresses by https; with `private`, also to one's own networks and by plain http."""

    def __init__(
        self,
        *,
        private: bool = False,
        connect_s: float = 5.0,
        total_s: float = 10.0,
        resolver: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Trusts httpx's authorities unless `tls` says others.

        connect_s: seconds until one address has taken the connection.
        total_s: seconds until the answer has begun, the look-up of the name included.
        """
        self.total_s = total_s
        self._private = private
        self._timeout = httpx.Timeout(total_s, connect=connect_s)
        self._resolver = resolver or Resolver()
        self._tls = tls

    def target(self, text: str) -> httpx.URL:
        """The URL that such a text is; InvalidParameter where it may not be called. Looks no name up."""
        if len(text) > LONGEST_URL:
            raise InvalidParameter(f"the webhook's URL has {len(text)} characters; at most {LONGEST_URL} are allowed")
        try:
            url = httpx.URL(text)
        except httpx.InvalidURL as error:
            raise InvalidParameter("the webhook is no URL; https://example.org/hook is one") from error
        schemes = ("https", "http") if self._private else ("https",)
        if url.scheme not in schemes:
            raise InvalidParameter(
                f"the webhook's URL begins with {url.scheme!r}; only {' and '.join(schemes)} is allowed here"
            )
        if url.userinfo:
            raise InvalidParameter("the webhook's URL holds a user name; put a token into its query instead")
        if url.port is not None and not 0 < url.port < 65536:
            raise InvalidParameter(f"the webhook's URL has port {url.port}; ports go from 1 to 65535")
        address = literal(_host(url))
        if address is None and not _NAME.fullmatch(_host(url)):
            raise InvalidParameter("the webhook's URL has no valid host name")
        if address is not None and not may_call(address, private=self._private):
            raise InvalidParameter(f"the webhook's address {address} may not be called: it is not a public one")
        return url

    async def post(self, url: httpx.URL, body: bytes, headers: dict[str, str]) -> Answer:
        """Posts JSON to what `target` gave; CallError where there is no answer. The answer's body is never read."""
        try:
            async with asyncio.timeout(self.total_s):
                return await self._post(url, await self._addresses(_host(url)), body, headers)
        except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout) as error:
            raise CallError(f"no answer came within {self.total_s:g} seconds") from error
        except httpx.TransportError as error:
            raise CallError(_reason(error), detail=error) from error

    def close(self) -> None:
        """Lets its threads go; for when nothing is called any more."""
        self._resolver.close()

    async def _addresses(self, host: str) -> Sequence[Address]:
        try:
            found = await self._resolver.addresses(host)
        except OSError as error:
            raise CallError("the host name was not found", detail=error) from error
        for address in found:
            if not may_call(address, private=self._private):
                raise CallError("the host leads to an address that may not be called", detail=address, forbidden=True)
        return found

    async def _post(self, url: httpx.URL, addresses: Sequence[Address], body: bytes, headers: dict[str, str]) -> Answer:
        if self._tls is None:
            self._tls = await asyncio.to_thread(httpx.create_ssl_context)
        headers = _HEADERS | headers | {"Host": url.netloc.decode("ascii")}
        named = {"sni_hostname": _host(url)}
        trouble: httpx.TransportError = httpx.ConnectError("no address")
        # One client a call: a kept connection would be found again by its address, whatever name it was checked for.
        async with httpx.AsyncClient(verify=self._tls, trust_env=False, timeout=self._timeout) as client:
            for address in addresses:
                there = url.copy_with(host=str(address))
                try:
                    async with client.stream("POST", there, content=body, headers=headers, extensions=named) as answer:
                        return Answer(answer.status_code, answer.headers.get("retry-after", ""))
                except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                    trouble = error
        raise trouble


_HEADERS = {
    "User-Agent": "Recast",
    "Content-Type": "application/json",
    "Accept-Encoding": "identity",
    "Connection": "close",
}


def _host(url: httpx.URL) -> str:
    # As it goes over the wire: `url.host` has the letters of an international name.
    return url.raw_host.decode("ascii")


def _reason(error: httpx.TransportError) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "the certificate was not accepted"
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return "no connection could be made"
    return "the connection broke before an answer came"
