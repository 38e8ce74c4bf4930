"""No address behind the fence is ever called on behalf of others."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Misconfigured
from app.infra.egress import networks, refusal

INSIDE = [
    ip_network(text)
    for text in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "100.64.0.0/10",
        "0.0.0.0/8",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
]
inside = st.sampled_from(INSIDE).flatmap(lambda network: st.ip_addresses(network=network))
OUTSIDE = ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:831::200e"]


def forms(address: IPv4Address) -> list[str]:
    """Every way of writing an IPv4 address as an IPv6 one."""
    number = int(address)
    high, low = number >> 16, number & 0xFFFF
    return [
        str(IPv6Address(0xFFFF << 32 | number)),
        str(IPv6Address(number)),
        f"64:ff9b::{address}",
        f"64:ff9b:1::{address}",
        f"2002:{high:x}:{low:x}::1",
        f"2001:0:{high:x}:{low:x}::",
        str(IPv6Address((0x2A00 << 112) | (0x5EFE << 32) | number)),
    ]


@given(inside)
def test_no_inside_address_passes_in_any_form(address: IPv4Address) -> None:
    for text in [str(address), *forms(address)]:
        assert refusal(text) is not None, text


@given(st.ip_addresses(v=6).filter(lambda address: not address.is_global or address.is_multicast))
def test_no_special_ipv6_address_passes(address: IPv6Address) -> None:
    assert refusal(str(address)) is not None


@given(st.ip_addresses(v=4).filter(lambda address: address.is_global and not address.is_multicast))
def test_public_addresses_pass_but_for_known_traps(address: IPv4Address) -> None:
    traps = [ip_network(text) for text in ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24")]
    assert (refusal(str(address)) is None) == all(address not in trap for trap in traps)


@pytest.mark.parametrize("address", OUTSIDE)
def test_public_addresses_pass(address: str) -> None:
    assert refusal(address) is None


def test_a_public_address_behind_nat64_passes() -> None:
    assert refusal("64:ff9b::8.8.8.8") is None


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("169.254.169.254", "link-local"),
        ("168.63.129.16", "cloud metadata"),
        ("100.100.100.200", "carrier-grade NAT"),
        ("fd00:ec2::254", "private"),
        ("::1", "reserved"),
        ("fe80::1%eth0", "link-local"),
        ("::ffff:169.254.169.254", "link-local"),
        ("localhost", "no address"),
        ("", "no address"),
    ],
)
def test_the_reason_is_told(address: str, why: str) -> None:
    assert refusal(address) == why


@given(st.ip_addresses(), st.integers(0, 32))
def test_a_configured_network_passes_and_only_that(address: IPv4Address | IPv6Address, bits: int) -> None:
    allow = networks((f"10.20.0.0/{max(bits, 8)}",))
    within = address.version == 4 and address in allow[0]
    assert (refusal(str(address), allow) is None) == (within or refusal(str(address)) is None)


@given(st.ip_addresses(network="10.20.0.0/16"))
def test_a_configured_network_passes_in_its_mapped_form_too(address: IPv4Address) -> None:
    assert refusal(f"::ffff:{address}", networks(("10.20.0.0/16",))) is None
    assert refusal(str(address), networks(("10.21.0.0/16",))) is not None


def test_what_is_no_network_is_named() -> None:
    with pytest.raises(Misconfigured, match=r'"10.0.0.0/99" is no network'):
        networks(("10.0.0.0/8", "10.0.0.0/99"))


@given(st.text(max_size=40))
def test_any_text_gets_an_answer(text: str) -> None:
    why = refusal(text)
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        assert why == "no address"
