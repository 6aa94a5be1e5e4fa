"""Peers of a server: the networks that are trusted, and what counts as one peer."""

from collections.abc import Callable, Collection
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

CACHED_PEERS = 1024
IPV6_NETWORK_BITS = 64
"""Length of the prefix of an IPv6 network: one customer has all addresses in it (RFC 6177)."""


def network_check(networks: Collection[str]) -> Callable[[str], bool]:
    """Return a function that tells whether an address is in one of ``networks``. Raises ValueError for no network."""
    known = [ip_network(network) for network in networks]

    @lru_cache(maxsize=CACHED_PEERS)
    def is_inside(host: str) -> bool:
        address = _address(host)
        return address is not None and any(address in network for network in known)

    return is_inside


@lru_cache(maxsize=CACHED_PEERS)
def peer_of(host: str) -> str:
    """Return the name of the peer with this address: an IPv4 address, or the network of an IPv6 address."""
    address = _address(host)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, IPV6_NETWORK_BITS), strict=False))
    return str(address or host)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address, as IPv4 if it is one written as IPv6; None for a peer without an address."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
