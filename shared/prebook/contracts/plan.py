"""How the flows of one booking travel. A plan is data: it is chosen, stored, sent along and reported."""

from collections.abc import Mapping
from enum import StrEnum


class Coupling(StrEnum):
    """The ways in which one service may lean on another."""

    SYNC_API = "sync_api"
    ASYNC_API = "async_api"
    ONE_WAY = "one_way"
    REQUEST_REPLY = "request_reply"


Plan = Mapping[str, Coupling]
"""Flow name -> coupling. A plan names every flow of the catalogue."""
