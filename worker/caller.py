"""Calls a URL that a stranger gave, and can't be misused to reach our own network.

It uses nothing that could lead a call elsewhere: no redirects, no proxies of the environment, no cookies, no kept
connections. Checking the name alone is worth nothing, since it may have another address a moment later. So each call
looks the name up once, every address must be allowed, and the connection goes to a checked address, while TLS checks
the certificate for the name.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpx

from worker.errors import InvalidParameter

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LONGEST_URL = 2000
"""Characters."""

# At most 253 characters, 63 a label, as in DNS; underscores occur in private networks.
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_LOOK_UPS_AT_ONCE = 8
_HEADERS = {
    "User-Agent": "Recast",
    "Content-Type": "application/json",
    "Accept-Encoding": "identity",
    "Connection": "close",
}


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(map(ip_network, texts))


_PRIVATE = _networks(
    "10.0.0.0/8",
    "100.64.0.0/10",  # between a provider and its customers (CGNAT); many clusters use it within
    "127.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "::1/128",
    "fc00::/7",
)
"""Private networks, and this machine."""

_NEVER = _networks(
    "0.0.0.0/8",  # "this host": a connection to 0.0.0.0 reaches the machine itself
    "100.100.100.200/32",  # the metadata service of a cloud: Alibaba
    "168.63.129.16/32",  # ... Azure, under an address that looks public
    "fd00:ec2::/32",  # ... AWS
    "169.254.0.0/16",  # ... and nearly all of them; link-local
    "192.0.0.0/24",  # for protocols
    "192.0.2.0/24",  # for documentation, as the next two
    "198.51.100.0/24",
    "203.0.113.0/24",
    "192.88.99.0/24",  # 6to4's relays
    "198.18.0.0/15",  # for benchmarks
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, and broadcast
    "2001::/23",  # for protocols; Teredo, which carries an IPv4 address, is among them
    "2001:db8::/32",  # for documentation, as the next
    "3fff::/20",
    "2002::/16",  # 6to4, which carries an IPv4 address
    "3ffe::/16",  # returned to the registry
)
"""Networks in which there is never a receiver."""

# All public IPv6 addresses. The forms ::a.b.c.d, ::ffff:a.b.c.d, 64:ff9b::a.b.c.d and 64:ff9b:1::/48 lie outside: they
# carry an IPv4 address past a check of the IPv6 one.
_UNICAST = ip_network("2000::/3")


def may_call(address: Address, *, private: bool = False) -> bool:
    """Whether a stranger's URL may lead to this address: public ones, with `private` also those of private networks.

    Link-local, multicast and reserved addresses are always refused, and so is IPv4 inside IPv6.
    """
    # ISATAP, in any network: the last 64 bits are 0000:5efe or 0200:5efe, and an IPv4 address.
    isatap = address.version == 6 and (int(address) >> 32) & 0xFDFF_FFFF == 0x5EFE
    if isatap or any(address in network for network in _NEVER):
        return False
    if any(address in network for network in _PRIVATE):
        return private
    return address.version == 4 or address in _UNICAST


def literal(host: str) -> Address | None:
    """The address that a host writes out, also as `127.1` or `0x7f000001`; None for a name."""
    # By the system's own parser: no spelling of an address that it accepts may pass for a name here.
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        return None
    return ip_address(found[0][4][0])


class Resolver:
    """Looks names up in threads of its own, so that a hanging name server holds up no other work."""

    def __init__(self, look_up: Callable[[str], Iterable[str]] | None = None) -> None:
        """Asks the system, or `look_up`: host to addresses, OSError where there is none."""
        self._look_up = look_up or _look_up
        self._threads = ThreadPoolExecutor(_LOOK_UPS_AT_ONCE, thread_name_prefix="names")

    async def addresses(self, host: str) -> tuple[Address, ...]:
        """Every address of a host, in the order to try them; OSError where there is none."""
        found = await asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, host)
        return tuple(dict.fromkeys(map(ip_address, found)))

    def close(self) -> None:
        """Stops looking names up; does not wait for look-ups under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str) -> Iterable[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


@dataclass(frozen=True)
class Response:
    """The head of an HTTP response."""

    status: int
    """HTTP status; redirects are not followed."""
    retry_after: str
    """The header, or the empty string."""


class CallError(Exception):
    """There was no response; `str(error)` is safe to show, `detail` is for the log alone.

    `forbidden`: it must not be tried again.
    """

    def __init__(self, reason: str, *, detail: object = None, forbidden: bool = False) -> None:
        super().__init__(reason)
        self.detail = f"{reason} ({detail})" if detail else reason
        self.forbidden = forbidden


class Caller:
    """Posts to public addresses by https; with `private`, also to private networks and by plain http."""

    def __init__(
        self,
        *,
        private: bool = False,
        connect_s: float = 5.0,
        total_s: float = 10.0,
        resolver: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Trusts httpx's certificate authorities unless `tls` names others.

        connect_s: seconds until one address has accepted the connection.
        total_s: seconds until the response has begun, the look-up of the name included.
        """
        self.total_s = total_s
        self._private = private
        self._timeout = httpx.Timeout(total_s, connect=connect_s)
        self._resolver = resolver or Resolver()
        self._tls = tls

    def target(self, text: str) -> httpx.URL:
        """Parses a URL. Raises InvalidParameter if it must not be called; does not look the name up."""
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

    async def post(self, url: httpx.URL, body: bytes, headers: dict[str, str]) -> Response:
        """Posts JSON to a URL of `target`. Raises CallError without a response; never reads the response's body."""
        try:
            async with asyncio.timeout(self.total_s):
                try:
                    addresses = await self._resolver.addresses(_host(url))
                except OSError as error:
                    raise CallError("the host name was not found", detail=error) from error
                if bad := [address for address in addresses if not may_call(address, private=self._private)]:
                    reason = "the host leads to an address that may not be called"
                    raise CallError(reason, detail=bad[0], forbidden=True)
                return await self._post(url, addresses, body, headers)
        except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout) as error:
            raise CallError(f"no answer came within {self.total_s:g} seconds") from error
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            refused = "CERTIFICATE_VERIFY_FAILED" in str(error)
            reason = "the certificate was not accepted" if refused else "no connection could be made"
            raise CallError(reason, detail=error) from error
        except httpx.TransportError as error:
            raise CallError("the connection broke before an answer came", detail=error) from error

    def close(self) -> None:
        """Stops its threads; nothing can be called afterwards."""
        self._resolver.close()

    async def _post(
        self, url: httpx.URL, addresses: Sequence[Address], body: bytes, headers: dict[str, str]
    ) -> Response:
        if self._tls is None:
            # In a thread: it reads the certificates of all authorities.
            self._tls = await asyncio.to_thread(httpx.create_ssl_context)
        headers = _HEADERS | headers | {"Host": url.netloc.decode("ascii")}
        named = {"sni_hostname": _host(url)}
        trouble: httpx.TransportError = httpx.ConnectError("no address")
        # One client for each call: a kept connection is found again by its address, whatever name it was checked for.
        async with httpx.AsyncClient(verify=self._tls, trust_env=False, timeout=self._timeout) as client:
            for address in addresses:
                # The host is the checked address; `sni_hostname` has TLS check the certificate for the name.
                there = url.copy_with(host=str(address))
                try:
                    async with client.stream(
                        "POST", there, content=body, headers=headers, extensions=named
                    ) as response:
                        return Response(response.status_code, response.headers.get("retry-after", ""))
                except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                    trouble = error
        raise trouble


def _host(url: httpx.URL) -> str:
    # As it goes over the wire: `url.host` has the letters of an international name.
    return url.raw_host.decode("ascii")
