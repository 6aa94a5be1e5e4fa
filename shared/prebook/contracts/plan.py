"""Couplings and plans. A plan is data: it is chosen per booking, stored, carried by every message, and reported."""

from collections.abc import Mapping
from enum import StrEnum


class Coupling(StrEnum):
    """Way in which a request and its reply travel between two services."""

    SYNC_API = "sync_api"
    ASYNC_API = "async_api"
    ONE_WAY = "one_way"
    REQUEST_REPLY = "request_reply"


Plan = Mapping[str, Coupling]
"""Coupling of every flow in the catalogue, by flow name."""


def plan_label(plan: Plan) -> str:
    """Return the coupling of a uniform plan, or the couplings of all flows."""
    couplings = set(plan.values())
    if len(couplings) == 1:
        return str(*couplings)
    return ", ".join(f"{flow}={coupling}" for flow, coupling in sorted(plan.items()))
