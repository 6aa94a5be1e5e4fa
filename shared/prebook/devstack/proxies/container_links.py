"""Links of a suite in containers through fault proxies of the console, at ports that both ends derive from names."""

from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit, urlunsplit

from prebook.flows import PROCESSES

PORT_BASE = 21_000
SERVERS = ("broker", "database")
LINK_PORTS: Mapping[str, int] = {
    name: PORT_BASE + number
    for number, name in enumerate(
        [
            *(f"{process}-{server}" for process in PROCESSES for server in SERVERS),
            *(f"http-{process}" for process in PROCESSES),
        ]
    )
}
"""Name of a fault proxy -> port at which the console listens for it."""


def links_of(service: str) -> Mapping[str, str]:
    """Return the fault proxy of each URL variable of a service: broker, database and the other services."""
    internal = {f"PREBOOK_INTERNAL_URL_{process.upper()}": f"http-{process}" for process in PROCESSES}
    return {
        "PREBOOK_AMQP_URL": f"{service}-broker",
        "PREBOOK_DATABASE_URL": f"{service}-database",
        **internal,
    }


def via_console(url: str, link: str, host: str) -> str:
    """Return a URL of the same server through the fault proxy ``link`` of the console at ``host``."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=_with_address(parts, host, LINK_PORTS[link])))


def _with_address(parts: SplitResult, host: str, port: int) -> str:
    credentials, at, _ = parts.netloc.rpartition("@")
    return f"{credentials}{at}{host}:{port}"
