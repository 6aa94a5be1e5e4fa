"""The chain of back pressure, from a full queue to a refused rider, and its limiting link. Pure."""

from collections.abc import Mapping
from typing import Any

LIMITS_FROM = 0.35
"""Ratio to its limit from which a link is said to limit. Below it, nothing does."""
BY_COUPLING = "_by_"
LINKS: Mapping[str, tuple[str, ...]] = {
    "relay": ("broker_blocked",),
    "outbox": ("outbox_rows", "outbox_age"),
    "admission": ("waiting_riders", "concurrent_inserts"),
}
"""Link -> the admission limits of booking that it fills. All limits by flow and coupling are of the link ``queue``."""


def chain_of(loads: Mapping[str, float]) -> dict[str, Any]:
    """Return each link with its fullest admission limit, and the link that limits; None: nothing limits.

    ``loads``: ratio of each admission limit that is used; rides are refused from 1 on.
    """
    by_coupling = tuple(name for name in loads if BY_COUPLING in name)
    links = {link: _fullest(loads, names) for link, names in {"queue": by_coupling, **LINKS}.items()}
    limiting = max(links, key=lambda link: links[link]["ratio"])
    return {"links": links, "limiting": limiting if links[limiting]["ratio"] >= LIMITS_FROM else None}


def _fullest(loads: Mapping[str, float], names: tuple[str, ...]) -> dict[str, Any]:
    name = max(names, key=lambda each: loads.get(each, 0.0), default="")
    return {"load": name, "ratio": loads.get(name, 0.0)}
