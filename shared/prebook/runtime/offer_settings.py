"""Settings of the scatter-gather among the partner fleets: part of the settings of one service process."""

from typing import Annotated, Literal

import msgspec

from prebook.runtime.fault_settings import FaultSettings

DEFAULT_PARTNER_TIMEOUT_S = 2.0
FleetName = Annotated[str, msgspec.Meta(pattern="^(ada|borealis|cargo|delta)$")]
DEFAULT_FLEETS = ("ada", "borealis", "cargo")


class OfferSettings(FaultSettings, kw_only=True):
    """Fleets to ask, completion of an auction, and calls of the partners."""

    fleets: Annotated[
        tuple[FleetName, ...],
        msgspec.Meta(
            min_length=1,
            description="comma-separated partner fleets (ada, borealis, cargo, delta) that matching asks for an offer "
            "for every ride; each one adds a request and a reply to the cost of a ride",
            examples=["ada,borealis,cargo,delta"],
        ),
    ] = DEFAULT_FLEETS
    min_offers: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            description="number of offers after which matching chooses a driver without waiting for the other "
            "fleets; if it is above the number of fleets, matching waits for all of them",
        ),
    ] = 2
    offer_deadline_s: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            le=300,
            description="seconds after which matching chooses among the offers that it has; without an offer it waits "
            "until deadline_s of ask_fleet",
        ),
    ] = 5.0
    offer_choice: Annotated[
        Literal["nearest", "first"],
        msgspec.Meta(
            description="nearest or first: whether the nearest driver's offer is accepted, or the first to arrive"
        ),
    ] = "nearest"
    partner_timeout_s: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            le=60,
            description="seconds that fleets waits for a partner's reply; a partner without one counts as declined",
        ),
    ] = DEFAULT_PARTNER_TIMEOUT_S
    partner_wire: Annotated[
        Literal["memory", "http"],
        msgspec.Meta(
            description="memory or http: whether fleets calls its simulated partners within the process, or over HTTP "
            "at their own listeners, which costs CPU time for every ride"
        ),
    ] = "memory"
