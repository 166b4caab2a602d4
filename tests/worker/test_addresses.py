"""Which addresses a stranger may have called, by table."""

import asyncio
import threading
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.caller import Resolver, literal, may_call

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.215.14",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2000::1",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2003::1",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80f::200e",
]
PRIVATE = [
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "192.168.255.255",
    "::1",
    "fc00::1",
    "fd12:3456:789a::1",
    "fdff:ffff::1",
]
NEVER = {
    "unspecified": ["0.0.0.0", "0.0.0.1", "0.255.255.255", "::"],
    "link-local": ["169.254.0.1", "169.254.169.254", "fe80::1", "fe80::1%2", "febf::1"],
    "site-local": ["fec0::1", "feff::1"],
    "told to a cloud's machines": ["100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254"],
    "protocols": ["192.0.0.1", "192.0.0.171", "2001:1::1", "2001:10::1", "2001:20::1", "2001:1ff:ffff::1"],
    "documentation": ["192.0.2.1", "198.51.100.7", "203.0.113.255", "2001:db8::1", "3fff::1", "3fff:fff::1"],
    "benchmarks": ["198.18.0.1", "198.19.255.255", "2001:2::1"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.254", "255.255.255.255", "100::1", "4000::1", "5f00::1", "e000::1"],
    "no longer given out": ["3ffe::1"],
    "mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8", "::ffff:0:7f00:1"],
    "compatible": ["::127.0.0.1", "::10.0.0.1", "::8.8.8.8"],
    "6to4": ["192.88.99.1", "2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::1", "2002:808:808::1"],
    "NAT64": [
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::8.8.8.8",
        "64:ff9b:1::7f00:1",
        "64:ff9b:1:a00:0:100::",
    ],
    "Teredo": ["2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:0:7f00:1::1"],
    "ISATAP": [
        "fe80::5efe:127.0.0.1",
        "2606:4700::5efe:127.0.0.1",
        "2a00:1450::200:5efe:10.0.0.1",
        "fd00::5efe:8.8.8.8",
    ],
}


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_may_be_called(text: str) -> None:
    """Public addresses are allowed, also those next to a forbidden network."""
    assert may_call(ip_address(text))


@pytest.mark.parametrize("text", PRIVATE)
def test_private_addresses_may_be_called_only_where_that_is_said(text: str) -> None:
    """Private networks are closed by default, and can be opened."""
    assert not may_call(ip_address(text))
    assert may_call(ip_address(text), private=True)


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in NEVER.items() for text in texts])
def test_other_addresses_may_never_be_called(kind: str, text: str) -> None:
    """Addresses that no receiver has are refused, and so is every form of IPv4 inside IPv6, whatever it carries."""
    assert not may_call(ip_address(text)), kind
    assert not may_call(ip_address(text), private=True), kind


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_what_may_be_called_is_public_for_the_standard_library_too(address: IPv4Address | IPv6Address) -> None:
    """No address is allowed that Python's own tables do not call public."""
    if may_call(address):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved
        assert not address.is_private


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("example.org", None),
        ("localhost", None),
        ("1.2.3.4.example.org", None),
        ("a..b", None),
        ("", None),
    ],
)
def test_an_address_is_known_in_every_spelling_without_asking_anybody(host: str, address: str | None) -> None:
    """Every spelling of an address that the system accepts is one here; a name is not."""
    assert literal(host) == (address and ip_address(address))


def test_a_name_is_looked_up_as_the_system_does_it() -> None:
    """localhost leads to this machine, each address once."""
    resolver = Resolver()
    found = asyncio.run(resolver.addresses("localhost"))
    resolver.close()
    assert found
    assert all(address.is_loopback for address in found)
    assert len(set(found)) == len(found)


def test_a_name_server_that_hangs_keeps_no_other_work_waiting() -> None:
    """However many names hang, the event loop and its own threads are free, and closing waits for none of them."""
    hung = threading.Event()

    def look_up(host: str) -> list[str]:
        hung.wait(60)
        return []

    async def main() -> None:
        resolver = Resolver(look_up)
        waiting = [asyncio.create_task(resolver.addresses(f"{number}.example.org")) for number in range(100)]
        assert await asyncio.to_thread(lambda: "free") == "free"
        resolver.close()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    try:
        asyncio.run(main())
    finally:
        hung.set()
