"""Public IP addresses: those that a host of the Internet may have.

Source: IANA, "IPv4/IPv6 Special-Purpose Address Registries"; OWASP, "Server-Side Request Forgery Prevention".
"""

import ipaddress

GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""The only part of IPv6 that is allocated to hosts. IPv4-compatible, site-local and reserved addresses are outside."""
NAT64 = ipaddress.ip_network("64:ff9b::/96")
NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # relays of 6to4
        "2001::/23",  # protocol assignments, with the tunnels of Teredo
        "2002::/16",  # tunnels of 6to4
        "3fff::/20",  # documentation
    )
)
"""Networks that ``ipaddress`` counts as global in some versions of Python. A tunnel ends at an IPv4 address that it
embeds; no public host needs one."""
ISATAP_IDENTIFIERS = (0x00005EFE, 0x02005EFE)
"""Third quarter of an ISATAP address, whose last quarter is the IPv4 address of a site's own host."""


def is_public_address(address: str) -> bool:
    """Return whether an address is public: not private, local, reserved, or an IPv6 form of such an address."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped or ip in NAT64:
            return is_public_address(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        if ip not in GLOBAL_UNICAST or int(ip) >> 32 & 0xFFFFFFFF in ISATAP_IDENTIFIERS:
            return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in NOT_PUBLIC)


def is_address(host: str) -> bool:
    """Return whether the host of a URL is an address or, as 127.1, a short form of one, and not a name to resolve."""
    return host.startswith("[") or host.rpartition(".")[2].isdigit()
