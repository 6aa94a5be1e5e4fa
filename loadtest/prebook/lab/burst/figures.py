"""What a burst came to, side by side and second by second. Pure, over what was written down."""

from collections import Counter
from collections.abc import Iterable

import msgspec

from prebook.lab.burst.memory_report import looked_at, most, whole_suite
from prebook.lab.burst.model import RideLine, Side
from prebook.lab.burst.series import known, last, seen_in, share, slope, still_waits
from prebook.lab.ledger.accounts import ANSWERED
from prebook.lab.quantiles import Latency, latency

IN_TIME_S = 30.0
"""From when booking took a ride in: an outcome after that is late. It is the usual deadline of one question."""


class PlanFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Rides of one plan, over the whole burst and the time until it came to rest."""

    label: str
    offered: int
    accepted: int
    answered: int
    in_time_per_s: float
    """Outcomes in time while the burst lasted, a second."""
    late: int
    refused: int
    """Gone away for good, with a 429 or 503."""
    unexplained: int
    """Not taken in and not refused: timed out, or the connection was lost."""
    expired: int
    """Taken in, and ended by a deadline or a failure of ours."""
    outcome_ms: Latency
    """From when it was taken in."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    back_pressure: str
    offered_per_s: float
    goodput_per_s: float
    """Outcomes in time while the burst lasted, a second, all plans together."""
    goodput_share: float
    """Of the capacity."""
    late: int
    expired: int
    refused: int
    refusals: int
    """How often a rider was refused, whether the rider came back or not."""
    silent_refusals: int
    """Riders who were refused once or more without a Retry-After."""
    unexplained: int
    came_back: int
    came_in: int
    """Of those who came back when told, who got in at that visit."""
    came_in_at_last: int
    """Or at a later one."""
    lost: int
    doubled: int
    in_flight: int
    at_rest: bool
    still_waits: bool = False
    """What was last seen of it waited: it is known not to be at rest."""
    lag_p99_ms: float
    """How late the generator itself was."""
    oldest_s: float | None
    """Age of the oldest message: the worst second of the burst."""
    oldest_at_end_s: float | None
    oldest_slope: float | None
    """Seconds that it grows each second: 0 is bounded, 1 is a queue that nobody takes from."""
    backlog_at_end: int | None
    """Questions without an answer when the last ride had been offered."""
    backlog_slope: float | None
    """Questions more each second."""
    waiting_seen: float = 0.0
    """Share of the burst's seconds in which age and backlog were seen: one look finds both."""
    memory_mb: dict[str, float]
    """Process -> its most."""
    memory_whole_mb: float | None
    memory_grown_mb: float | None
    """All of them together: their most, and how much more that is than in the first second."""
    memory_seen: dict[str, float] = {}
    memory_whole_seen: float = 0.0
    """Share of the burst's seconds in which it was seen, and in which all of them were."""
    plans: tuple[PlanFigures, ...]


def figures(side: Side) -> Figures:
    during = [second for second in side.seconds if 0 <= second.at_s <= side.duration_s]
    rides, refused = side.rides, [ride for ride in side.rides if ride.refused_s]
    back = [ride for ride in rides if ride.came_in is not None]
    goodput = in_time_per_s(rides, side.duration_s)
    plans = tuple(plan(label, rides, side.duration_s) for label in sorted({ride.label for ride in rides}))
    totals = [used for _, used in whole_suite(side.seconds)]
    waiting = [second.at_s for second in during if second.oldest_s is not None]
    looks = looked_at(side.seconds, side.duration_s)
    return Figures(
        back_pressure=side.back_pressure,
        offered_per_s=round(len(rides) / side.duration_s, 2),
        goodput_per_s=round(goodput, 2),
        goodput_share=round(goodput / side.capacity_per_s, 3),
        late=total(plans, "late"),
        expired=total(plans, "expired"),
        refused=total(plans, "refused"),
        refusals=sum(side.refusals.values()),
        silent_refusals=sum(not ride.explicit for ride in refused),
        unexplained=total(plans, "unexplained"),
        came_back=len(back),
        came_in=sum(bool(ride.came_in) for ride in back),
        came_in_at_last=sum(ride.accepted_s is not None for ride in back),
        lost=side.lost,
        doubled=side.doubled,
        in_flight=side.in_flight,
        at_rest=side.at_rest,
        still_waits=still_waits(side.seconds),
        lag_p99_ms=side.lag_p99_ms,
        oldest_s=max(known(during, lambda each: each.oldest_s), default=None),
        oldest_at_end_s=last(known(during, lambda each: each.oldest_s)),
        oldest_slope=slope(during, side.duration_s, lambda each: each.oldest_s),
        backlog_at_end=whole(last(known(during, lambda each: each.unanswered))),
        backlog_slope=slope(during, side.duration_s, lambda each: each.unanswered),
        waiting_seen=share(seen_in(waiting, side.duration_s), side.duration_s),
        memory_mb=most(side.seconds),
        memory_whole_mb=round(max(totals), 1) if totals else None,
        memory_grown_mb=round(max(totals) - totals[0], 1) if totals else None,
        memory_seen={name: share(seen, side.duration_s) for name, seen in looks.items()},
        memory_whole_seen=share(frozenset.intersection(*looks.values()), side.duration_s),
        plans=plans,
    )


def plan(label: str, rides: Iterable[RideLine], duration_s: float) -> PlanFigures:
    mine = [ride for ride in rides if ride.label == label]
    answered = [ride for ride in mine if ride.fate in ANSWERED]
    taken = [ride for ride in mine if ride.accepted_s is not None]
    not_taken = Counter(ride.fate for ride in mine if ride.accepted_s is None)
    return PlanFigures(
        label=label,
        offered=len(mine),
        accepted=len(taken),
        answered=len(answered),
        in_time_per_s=round(in_time_per_s(mine, duration_s), 2),
        late=sum(took_s(ride) > IN_TIME_S for ride in answered),
        refused=not_taken["refused"],
        unexplained=not_taken.total() - not_taken["refused"],
        expired=sum(ride.fate in {"expired", "failed"} for ride in taken),
        outcome_ms=latency(took_s(ride) * 1e3 for ride in answered),
    )


def took_s(ride: RideLine) -> float:
    return (ride.settled_s or 0.0) - (ride.accepted_s or 0.0)


def in_time(ride: RideLine) -> bool:
    return ride.fate in ANSWERED and took_s(ride) <= IN_TIME_S


def in_time_per_s(rides: Iterable[RideLine], duration_s: float) -> float:
    return sum(in_time(ride) and 0 <= (ride.settled_s or 0.0) < duration_s for ride in rides) / duration_s


def by_second(moments: Iterable[float | None], seconds: int) -> tuple[int, ...]:
    """What lies outside is left out."""
    counts = Counter(int(moment) for moment in moments if moment is not None and 0 <= moment < seconds)
    return tuple(counts[second] for second in range(seconds))


def whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def total(plans: Iterable[PlanFigures], name: str) -> int:
    return sum(getattr(plan, name) for plan in plans)
