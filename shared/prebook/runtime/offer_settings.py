"""Settings of the scatter-gather among the partner fleets: part of the settings of one service process."""

from typing import Annotated, Literal

import msgspec

from prebook.runtime.fault_settings import FaultSettings

FleetName = Annotated[str, msgspec.Meta(pattern="^(ada|borealis|cargo|delta)$")]


class OfferSettings(FaultSettings, kw_only=True):
    """Fleets to ask, completion of an auction, and calls of the partners."""

    fleets: Annotated[
        tuple[FleetName, ...],
        msgspec.Meta(
            min_length=1,
            description="comma-separated partner fleets that matching asks for an offer for every ride, of ada, "
            "borealis, cargo and delta; each one adds a request and a reply to the cost of a ride",
            examples=["ada,borealis,cargo,delta"],
        ),
    ] = ("ada", "borealis", "cargo")
    min_offers: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            description="offers that are enough for matching to choose a driver without the replies of the other "
            "fleets; with more than there are fleets, it waits for all of them",
        ),
    ] = 2
    offer_deadline_s: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            le=300,
            description="seconds after which matching chooses among the offers that it has; without one it waits on, "
            "until deadline_s of ask_fleet",
        ),
    ] = 5.0
    offer_choice: Annotated[
        Literal["nearest", "first"],
        msgspec.Meta(description="nearest or first: which of the offers is accepted, the nearest or the first one"),
    ] = "nearest"
    partner_timeout_s: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            le=60,
            description="seconds that fleets waits for the reply of a partner, which then counts as declined",
        ),
    ] = 2.0
    partner_wire: Annotated[
        Literal["memory", "http"],
        msgspec.Meta(
            description="memory or http: whether fleets calls its simulated partners within the process, or at HTTP "
            "listeners of their own, which costs CPU time for every ride"
        ),
    ] = "memory"
