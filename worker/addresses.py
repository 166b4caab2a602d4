"""Which addresses may be called on a stranger's word, and which ones a host name leads to.

A check of the name is worth nothing: it may lead elsewhere a moment later. Whoever calls checks every address that the
name leads to now, and connects to one of these.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


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
"""Where one's own machines are."""

_NEVER = _networks(
    "0.0.0.0/8",  # "this host": a connection to 0.0.0.0 reaches the machine itself
    "100.100.100.200/32",  # what a cloud tells its machines: Alibaba
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
    "3ffe::/16",  # given back
)
"""Where nobody's receiver is."""

# All that is given out of IPv6. Outside lie, among others, the forms ::a.b.c.d, ::ffff:a.b.c.d, 64:ff9b::a.b.c.d and
# 64:ff9b:1::/48, which carry an IPv4 address past whoever looks at the IPv6 one.
_UNICAST = ip_network("2000::/3")

_LOOK_UPS_AT_ONCE = 8


def may_call(address: Address, *, private: bool = False) -> bool:
    """Whether a stranger may have this address called: a public one, or with `private` also one of one's own networks.

    Link-local, multicast and reserved addresses are refused in any case, and so is IPv4 inside IPv6.
    """
    if any(address in network for network in _NEVER) or _is_isatap(address):
        return False
    if any(address in network for network in _PRIVATE):
        return private
    return address.version == 4 or address in _UNICAST


def literal(host: str) -> Address | None:
    """The address that a host is without being looked up, also as `127.1` or `0x7f000001`; None for a name."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        return None
    return ip_address(found[0][4][0])


class Resolver:
    """Looks names up in threads of its own, so that a name server that hangs keeps no other work waiting."""

    def __init__(self, look_up: Callable[[str], Iterable[str]] | None = None) -> None:
        """Asks the system, or `look_up`: host to addresses, OSError where there is none."""
        self._look_up = look_up or _look_up
        self._threads = ThreadPoolExecutor(_LOOK_UPS_AT_ONCE, thread_name_prefix="names")

    async def addresses(self, host: str) -> tuple[Address, ...]:
        """Every address of a host, the one to try first first; OSError where there is none."""
        found = await asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, host)
        return tuple(dict.fromkeys(map(ip_address, found)))

    def close(self) -> None:
        """Looks nothing up any more, and waits for nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str) -> Iterable[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def _is_isatap(address: Address) -> bool:
    # Within any network: its last 64 bits are 0000:5efe or 0200:5efe, and an IPv4 address.
    return address.version == 6 and (int(address) >> 32) & 0xFDFF_FFFF == 0x5EFE
