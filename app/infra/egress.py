"""Which addresses the product may call for others: public ones, and private ones only where configured. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from app.errors import Misconfigured

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry, and addresses that clouds
# give to their metadata services outside of those (168.63.129.16: Azure).
_REFUSED: tuple[tuple[str, str], ...] = (
    ("0.0.0.0/8", "this network"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "carrier-grade NAT"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "documentation"),
    ("192.88.99.0/24", "reserved"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("168.63.129.16/32", "cloud metadata"),
    ("::/96", "reserved"),
    ("64:ff9b:1::/48", "local NAT64"),
    ("100::/64", "discard"),
    ("2001::/23", "reserved"),
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "6to4"),
    ("3fff::/20", "documentation"),
    ("5f00::/16", "segment routing"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "private"),
    ("ff00::/8", "multicast"),
)
_REFUSED_NETWORKS: tuple[tuple[Network, str], ...] = tuple((ip_network(text), why) for text, why in _REFUSED)
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)


@lru_cache(maxsize=16)
def networks(allow: tuple[str, ...]) -> tuple[Network, ...]:
    """Networks written as CIDR. Raises Misconfigured naming the first that is none."""
    found: list[Network] = []
    for text in allow:
        try:
            found.append(ip_network(text, strict=False))
        except ValueError:
            raise Misconfigured(f'SMM_EGRESS_ALLOW: "{text}" is no network such as 10.0.0.0/8') from None
    return tuple(found)


def refusal(text: str, allow: Iterable[Network] = ()) -> str | None:
    """Why the address `text` may not be called ("loopback", "private", ...), or None when it may.

    An IPv4 address inside an IPv6 one (mapped, NAT64, ISATAP) is judged as what it is.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return "no address"
    reached = _embedded(address)
    if any(reached.version == network.version and reached in network for network in allow):
        return None
    for network, why in _REFUSED_NETWORKS:
        if reached.version == network.version and reached in network:
            return why
    return None if reached.is_global else "not public"


def _embedded(address: Address) -> Address:
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    value = int(address)
    if address in _NAT64 or (value >> 32) & 0xFFFFFFFF in _ISATAP:
        return IPv4Address(value & 0xFFFFFFFF)
    return address
