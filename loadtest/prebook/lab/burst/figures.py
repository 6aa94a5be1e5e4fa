"""Figures of a burst, per side and per plan, computed from its raw measurements. Pure."""

from collections import Counter
from collections.abc import Iterable

import msgspec

from prebook.lab.burst.memory_report import observed_seconds, peak_mb, total_mb
from prebook.lab.burst.model import BurstSide, RideRecord
from prebook.lab.burst.series import coverage, covered_seconds, find_last, fit_slope, is_busy_at_end, known_values
from prebook.lab.ledger.accounts import ANSWERED_OUTCOMES
from prebook.lab.load.samples import OUT_OF_DESCRIPTORS
from prebook.lab.quantiles import LatencySummary, latency_summary

OUTCOME_DEADLINE_S = 30.0
"""Seconds from acceptance after which an outcome is late: the default deadline of one request."""


class PlanFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Rides of one plan, counted over the burst and the time until its backlog was empty."""

    label: str
    """Name of the plan."""
    offered: int
    accepted: int
    answered: int
    """Rides with a business outcome."""
    in_time_per_s: float
    """Rides settled in time per second of the burst."""
    late: int
    """Rides with a business outcome after OUTCOME_DEADLINE_S."""
    refused: int
    """Rides whose last response was a 429 or 503."""
    request_errors: int
    """Rides neither accepted nor refused: the request timed out or the connection was lost."""
    expired: int
    """Accepted rides that ended by a deadline or a failure of the suite."""
    outcome_ms: LatencySummary
    """Time from acceptance to the business outcome."""


class BurstFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one side of the comparison. A figure that was not measured is null."""

    back_pressure: str
    """``on`` or ``off``."""
    offered_per_s: float
    goodput_per_s: float
    """Rides settled in time per second of the burst, all plans together."""
    goodput_share: float
    """Goodput as a share of the capacity."""
    late: int
    """Rides with a business outcome after OUTCOME_DEADLINE_S."""
    expired: int
    """Accepted rides that ended by a deadline or a failure of the suite."""
    refused: int
    """Rides whose last response was a 429 or 503."""
    refusals: int
    """Responses with status 429 or 503, several per ride if the rider retried."""
    refusals_without_retry_after: int
    """Rides with at least one refusal without a Retry-After header."""
    request_errors: int
    """Rides neither accepted nor refused: the request timed out or the connection was lost."""
    unsent: int = 0
    """Of these, the requests for which the load generator had no file descriptor."""
    request_error_kinds: dict[str, int] = {}
    """Number of these rides by kind and reason of their last response, such as ``timeout TimeoutError``."""
    refusal_kinds_without_retry_after: dict[str, int] = {}
    """Number of refusals without a Retry-After header by status and reason."""
    retried: int
    """Rides with at least one retry after a Retry-After."""
    accepted_on_first_retry: int
    """Rides accepted on the first retry."""
    accepted_on_any_retry: int
    """Rides accepted on the first or a later retry."""
    lost: int
    """Discrepancies between the sources in which a ride or a notice is missing."""
    duplicated: int
    """Discrepancies in which a ride or a notice took effect twice."""
    in_flight: int
    """Rides without an outcome at the end."""
    at_rest: bool
    """Whether the backlog was empty at the end."""
    busy_at_end: bool = False
    """Whether the last snapshots show a backlog, so that the suite is known not to be at rest."""
    lag_p99_ms: float
    """99th percentile of the load generator's delay between intended and actual send time."""
    clock_deviation_s: float
    """Largest contradiction between the load generator's clock and the services' clocks."""
    oldest_age_s: float | None
    """Maximum age of the oldest message during the burst."""
    oldest_age_at_end_s: float | None
    """Age of the oldest message at the end of the burst."""
    oldest_age_slope: float | None
    """Growth of the age in seconds per second: 0 if bounded, 1 if no message is consumed."""
    backlog_at_end: int | None
    """Pending requests at the end of the burst."""
    backlog_slope: float | None
    """Growth of the pending requests per second."""
    backlog_coverage: float = 0.0
    """Share of the burst's seconds with a reading of age and backlog."""
    memory_mb: dict[str, float]
    """Peak memory of each process."""
    memory_total_mb: float | None
    """Peak memory of all processes together."""
    memory_growth_mb: float | None
    """Peak of all processes together minus their memory in the first complete snapshot."""
    memory_coverage: dict[str, float] = {}
    """Share of the burst's seconds with a reading of each process."""
    memory_total_coverage: float = 0.0
    """Share of the burst's seconds with a reading of every process."""
    plans: tuple[PlanFigures, ...]


def figures(side: BurstSide) -> BurstFigures:
    """Return the figures of ``side``."""
    during = [snapshot for snapshot in side.snapshots if 0 <= snapshot.at_s <= side.duration_s]
    rides = side.rides
    refused = [ride for ride in side.rides if ride.refused_s]
    retried = [ride for ride in rides if ride.accepted_on_first_retry is not None]
    goodput = in_time_per_s(rides, side.duration_s)
    plans = tuple(plan_figures(label, rides, side.duration_s) for label in sorted({ride.label for ride in rides}))
    totals = [megabytes for _, megabytes in total_mb(side.snapshots)]
    age_read_at = [snapshot.at_s for snapshot in during if snapshot.oldest_age_s is not None]
    memory_seconds = observed_seconds(side.snapshots, side.duration_s)
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
        unsent=sum(ride.failure.startswith(OUT_OF_DESCRIPTORS) for ride in rides),
        request_error_kinds=count_kinds(
            ride.failure or ride.outcome for ride in rides if ride.accepted_s is None and ride.outcome != "refused"
        ),
        refusal_kinds_without_retry_after=count_kinds(kind for ride in rides for kind in ride.without_retry_after),
        retried=len(retried),
        accepted_on_first_retry=sum(bool(ride.accepted_on_first_retry) for ride in retried),
        accepted_on_any_retry=sum(ride.accepted_s is not None for ride in retried),
        lost=side.lost,
        duplicated=side.duplicated,
        in_flight=side.in_flight,
        at_rest=side.at_rest,
        busy_at_end=is_busy_at_end(side.snapshots),
        lag_p99_ms=side.lag_p99_ms,
        clock_deviation_s=side.clock_deviation_s,
        oldest_age_s=max(known_values(during, lambda snapshot: snapshot.oldest_age_s), default=None),
        oldest_age_at_end_s=find_last(known_values(during, lambda snapshot: snapshot.oldest_age_s)),
        oldest_age_slope=fit_slope(during, side.duration_s, lambda snapshot: snapshot.oldest_age_s),
        backlog_at_end=int_or_none(find_last(known_values(during, lambda snapshot: snapshot.pending_requests))),
        backlog_slope=fit_slope(during, side.duration_s, lambda snapshot: snapshot.pending_requests),
        backlog_coverage=coverage(covered_seconds(age_read_at, side.duration_s), side.duration_s),
        memory_mb=peak_mb(side.snapshots),
        memory_total_mb=round(max(totals), 1) if totals else None,
        memory_growth_mb=round(max(totals) - totals[0], 1) if totals else None,
        memory_coverage={name: coverage(seconds, side.duration_s) for name, seconds in memory_seconds.items()},
        memory_total_coverage=coverage(frozenset.intersection(*memory_seconds.values()), side.duration_s),
        plans=plans,
    )


def count_kinds(kinds: Iterable[str]) -> dict[str, int]:
    """Return the number of each kind, the most frequent first."""
    return dict(Counter(kinds).most_common())


def plan_figures(label: str, rides: Iterable[RideRecord], duration_s: float) -> PlanFigures:
    """Return the figures of the rides under the plan ``label`` in a burst of ``duration_s`` seconds."""
    offered = [ride for ride in rides if ride.label == label]
    answered = [ride for ride in offered if ride.outcome in ANSWERED_OUTCOMES]
    accepted = [ride for ride in offered if ride.accepted_s is not None]
    not_accepted = Counter(ride.outcome for ride in offered if ride.accepted_s is None)
    return PlanFigures(
        label=label,
        offered=len(offered),
        accepted=len(accepted),
        answered=len(answered),
        in_time_per_s=round(in_time_per_s(offered, duration_s), 2),
        late=sum(outcome_s(ride) > OUTCOME_DEADLINE_S for ride in answered),
        refused=not_accepted["refused"],
        request_errors=not_accepted.total() - not_accepted["refused"],
        expired=sum(ride.outcome in {"expired", "failed"} for ride in accepted),
        outcome_ms=latency_summary(outcome_s(ride) * 1e3 for ride in answered),
    )


def outcome_s(ride: RideRecord) -> float:
    """Return the seconds from acceptance to settlement; 0 if the ride was not accepted."""
    return (ride.settled_s or 0.0) - (ride.accepted_s or 0.0)


def is_in_time(ride: RideRecord) -> bool:
    """Return whether ``ride`` has a business outcome within OUTCOME_DEADLINE_S of its acceptance."""
    return ride.outcome in ANSWERED_OUTCOMES and outcome_s(ride) <= OUTCOME_DEADLINE_S


def in_time_per_s(rides: Iterable[RideRecord], duration_s: float) -> float:
    """Return the rides settled in time per second of a burst of ``duration_s`` seconds."""
    return sum(is_in_time(ride) and 0 <= (ride.settled_s or 0.0) < duration_s for ride in rides) / duration_s


def bin_by_second(moments: Iterable[float | None], seconds: int) -> tuple[int, ...]:
    """Count ``moments`` (seconds) per whole second from 0 to ``seconds``; others are ignored."""
    counts = Counter(int(moment) for moment in moments if moment is not None and 0 <= moment < seconds)
    return tuple(counts[second] for second in range(seconds))


def int_or_none(value: float | None) -> int | None:
    """Return ``value`` as an integer, or None."""
    return None if value is None else int(value)
