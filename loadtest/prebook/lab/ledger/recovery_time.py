"""Recovery time of a plan after a fault, and answered rides over time."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from statistics import median

from prebook.lab.faults import FaultWindow
from prebook.lab.ledger.accounts import RideAccount

MIN_NORMAL_S = 1.0
"""Seconds to settle that always count as normal."""
NORMAL_FACTOR = 2.0
"""Multiple of the slowest time to settle before the fault that still counts as normal."""


def time_to_settle_s(account: RideAccount) -> float:
    """Return seconds from the request's intended time to the booking's settlement, for an answered account."""
    return (settled_at(account) - account.sample.intended_at).total_seconds()


def settled_at(account: RideAccount) -> datetime:
    """Return when the booking was settled, or when the ride was offered if the booking is not settled."""
    moment = account.row.settled_at if account.row else None
    return moment or account.sample.intended_at


def known_at(account: RideAccount) -> datetime:
    """Return when the ride was settled: booking's time of settlement or the notice's, whichever is earlier.

    A fault may shift booking's clock forward; a rider cannot be notified of an outcome before it exists.
    """
    return min(settled_at(account), account.notified_at or settled_at(account))


def recovery_s(accounts: Sequence[RideAccount], window: FaultWindow | None) -> float | None:
    """Return the seconds from the end of a fault until the plan settles rides as before, or None if not measurable.

    Only rides that were open when the fault began or were offered later are considered. Such a ride is disturbed if it
    was not answered (refused, failed, expired, dead-lettered), or if it took longer than ``normal_limit_s`` of rides
    settled before the fault. The disturbance of an answered ride ends when it is settled; that of an unanswered ride
    counts at the time it was offered. The plan has recovered when the last disturbance ends: the backlog is drained and
    new rides settle as before. The result is 0.0 if that is no later than the end of the fault.

    Recovery is not measurable without a fault, with a ride in flight, or if no answered ride was offered after the last
    unanswered one, because then the recovery itself was not observed.
    """
    if window is None or any(not account.at_rest for account in accounts):
        return None
    affected = [account for account in accounts if settled_at(account) >= window.started_at]
    if not recovery_observed(affected):
        return None
    limit_s = normal_limit_s(account for account in accounts if settled_at(account) < window.started_at)
    disturbance_ends = [moment for account in affected if (moment := disturbance_end(account, limit_s))]
    return round(max([0.0, *((moment - window.ended_at).total_seconds() for moment in disturbance_ends)]), 3)


def normal_limit_s(accounts: Iterable[RideAccount]) -> float:
    """Return the limit of a normal time to settle: NORMAL_FACTOR times the slowest account, at least MIN_NORMAL_S."""
    slowest = max((time_to_settle_s(account) for account in accounts if account.answered), default=0.0)
    return max(MIN_NORMAL_S, NORMAL_FACTOR * slowest)


def disturbance_end(account: RideAccount, limit_s: float) -> datetime | None:
    """Return when the ride's disturbance ended, or None if it was answered within ``limit_s`` seconds."""
    if not account.answered:
        return account.sample.intended_at
    return settled_at(account) if time_to_settle_s(account) > limit_s else None


def recovery_observed(accounts: Sequence[RideAccount]) -> bool:
    """Return whether an answered ride was offered after the last unanswered one."""
    unanswered = [account.sample.intended_at for account in accounts if not account.answered]
    answered = [account.sample.intended_at for account in accounts if account.answered]
    return bool(answered) and (not unanswered or max(answered) > max(unanswered))


def answered_per_bin(accounts: Iterable[RideAccount], start: datetime, bin_s: float, bins: int) -> tuple[int, ...]:
    """Return the number of rides answered in each of ``bins`` intervals of ``bin_s`` seconds from ``start`` on."""
    return histogram((settled_at(account) for account in accounts if account.answered), start, bin_s, bins)


def outcome_medians_ms(
    accounts: Iterable[RideAccount], start: datetime, bin_s: float, bins: int
) -> tuple[float | None, ...]:
    """Return the median time to settle, in ms, of the answered rides offered in each bin; None without one."""
    times: list[list[float]] = [[] for _ in range(bins)]
    for account in accounts:
        if account.answered:
            position = int((account.sample.intended_at - start) / timedelta(seconds=bin_s))
            times[min(max(position, 0), bins - 1)].append(time_to_settle_s(account) * 1e3)
    return tuple(round(median(own), 1) if own else None for own in times)


def histogram(moments: Iterable[datetime], start: datetime, bin_s: float, bins: int) -> tuple[int, ...]:
    """Return the number of moments per bin; moments outside count in the first or last bin, so that none is lost."""
    counts = [0] * bins
    for moment in moments:
        position = int((moment - start) / timedelta(seconds=bin_s))
        counts[min(max(position, 0), bins - 1)] += 1
    return tuple(counts)
