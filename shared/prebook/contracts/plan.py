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
