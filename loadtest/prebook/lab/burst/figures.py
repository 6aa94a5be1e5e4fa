"""What a burst came to, side by side and second by second. Pure, over what was written down."""

from collections import Counter
from collections.abc import Iterable

import msgspec

from prebook.lab.burst.memory_report import observed_seconds, peak_mb, total_mb
from prebook.lab.burst.model import BurstSide, RideRecord
from prebook.lab.burst.series import coverage, covered_seconds, is_busy_at_end, known_values, last, slope
from prebook.lab.ledger.accounts import ANSWERED_OUTCOMES
from prebook.lab.quantiles import LatencySummary, latency_summary

OUTCOME_DEADLINE_S = 30.0
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
    request_errors: int
    """Not taken in and not refused: timed out, or the connection was lost."""
    expired: int
    """Taken in, and ended by a deadline or a failure of ours."""
    outcome_ms: LatencySummary
    """From when it was taken in."""


class BurstFigures(msgspec.Struct, frozen=True, kw_only=True):
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
    refusals_without_retry_after: int
    """Riders who were refused once or more without a Retry-After."""
    request_errors: int
    retried: int
    accepted_on_first_retry: int
    """Of those who came back when told, who got in at that visit."""
    accepted_on_any_retry: int
    """Or at a later one."""
    lost: int
    duplicated: int
    in_flight: int
    at_rest: bool
    busy_at_end: bool = False
    """What was last seen of it waited: it is known not to be at rest."""
    lag_p99_ms: float
    """How late the generator itself was."""
    oldest_age_s: float | None
    """Age of the oldest message: the worst second of the burst."""
    oldest_age_at_end_s: float | None
    oldest_age_slope: float | None
    """Seconds that it grows each second: 0 is bounded, 1 is a queue that nobody takes from."""
    backlog_at_end: int | None
    """Questions without an answer when the last ride had been offered."""
    backlog_slope: float | None
    """Questions more each second."""
    backlog_coverage: float = 0.0
    """Share of the burst's seconds in which age and backlog were seen: one look finds both."""
    memory_mb: dict[str, float]
    """Process -> its most."""
    memory_total_mb: float | None
    memory_growth_mb: float | None
    """All of them together: their most, and how much more that is than in the first second."""
    memory_coverage: dict[str, float] = {}
    memory_total_coverage: float = 0.0
    """Share of the burst's seconds in which it was seen, and in which all of them were."""
    plans: tuple[PlanFigures, ...]


def figures(side: BurstSide) -> BurstFigures:
    during = [second for second in side.snapshots if 0 <= second.at_s <= side.duration_s]
    rides = side.rides
    refused = [ride for ride in side.rides if ride.refused_s]
    back = [ride for ride in rides if ride.accepted_on_first_retry is not None]
    goodput = in_time_per_s(rides, side.duration_s)
    plans = tuple(plan_figures(label, rides, side.duration_s) for label in sorted({ride.label for ride in rides}))
    totals = [used for _, used in total_mb(side.snapshots)]
    waiting = [second.at_s for second in during if second.oldest_age_s is not None]
    looks = observed_seconds(side.snapshots, side.duration_s)
    return BurstFigures(
        back_pressure=side.back_pressure,
        offered_per_s=round(len(rides) / side.duration_s, 2),
        goodput_per_s=round(goodput, 2),
        goodput_share=round(goodput / side.capacity_per_s, 3),
        late=sum(plan.late for plan in plans),
        expired=sum(plan.expired for plan in plans),
        refused=sum(plan.refused for plan in plans),
        refusals=sum(side.refusals.values()),
        refusals_without_retry_after=sum(not ride.all_with_retry_after for ride in refused),
        request_errors=sum(plan.request_errors for plan in plans),
        retried=len(back),
        accepted_on_first_retry=sum(bool(ride.accepted_on_first_retry) for ride in back),
        accepted_on_any_retry=sum(ride.accepted_s is not None for ride in back),
        lost=side.lost,
        duplicated=side.duplicated,
        in_flight=side.in_flight,
        at_rest=side.at_rest,
        busy_at_end=is_busy_at_end(side.snapshots),
        lag_p99_ms=side.lag_p99_ms,
        oldest_age_s=max(known_values(during, lambda each: each.oldest_age_s), default=None),
        oldest_age_at_end_s=last(known_values(during, lambda each: each.oldest_age_s)),
        oldest_age_slope=slope(during, side.duration_s, lambda each: each.oldest_age_s),
        backlog_at_end=int_or_none(last(known_values(during, lambda each: each.pending_requests))),
        backlog_slope=slope(during, side.duration_s, lambda each: each.pending_requests),
        backlog_coverage=coverage(covered_seconds(waiting, side.duration_s), side.duration_s),
        memory_mb=peak_mb(side.snapshots),
        memory_total_mb=round(max(totals), 1) if totals else None,
        memory_growth_mb=round(max(totals) - totals[0], 1) if totals else None,
        memory_coverage={name: coverage(seen, side.duration_s) for name, seen in looks.items()},
        memory_total_coverage=coverage(frozenset.intersection(*looks.values()), side.duration_s),
        plans=plans,
    )


def plan_figures(label: str, rides: Iterable[RideRecord], duration_s: float) -> PlanFigures:
    mine = [ride for ride in rides if ride.label == label]
    answered = [ride for ride in mine if ride.outcome in ANSWERED_OUTCOMES]
    taken = [ride for ride in mine if ride.accepted_s is not None]
    not_taken = Counter(ride.outcome for ride in mine if ride.accepted_s is None)
    return PlanFigures(
        label=label,
        offered=len(mine),
        accepted=len(taken),
        answered=len(answered),
        in_time_per_s=round(in_time_per_s(mine, duration_s), 2),
        late=sum(outcome_s(ride) > OUTCOME_DEADLINE_S for ride in answered),
        refused=not_taken["refused"],
        request_errors=not_taken.total() - not_taken["refused"],
        expired=sum(ride.outcome in {"expired", "failed"} for ride in taken),
        outcome_ms=latency_summary(outcome_s(ride) * 1e3 for ride in answered),
    )


def outcome_s(ride: RideRecord) -> float:
    return (ride.settled_s or 0.0) - (ride.accepted_s or 0.0)


def is_in_time(ride: RideRecord) -> bool:
    return ride.outcome in ANSWERED_OUTCOMES and outcome_s(ride) <= OUTCOME_DEADLINE_S


def in_time_per_s(rides: Iterable[RideRecord], duration_s: float) -> float:
    return sum(is_in_time(ride) and 0 <= (ride.settled_s or 0.0) < duration_s for ride in rides) / duration_s


def bin_by_second(moments: Iterable[float | None], seconds: int) -> tuple[int, ...]:
    """What lies outside is left out."""
    counts = Counter(int(moment) for moment in moments if moment is not None and 0 <= moment < seconds)
    return tuple(counts[second] for second in range(seconds))


def int_or_none(value: float | None) -> int | None:
    return None if value is None else int(value)
