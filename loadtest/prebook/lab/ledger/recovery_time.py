"""How long after a fault a plan is back, and when its rides were completed."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from prebook.lab.faults import FaultWindow
from prebook.lab.ledger.accounts import RideAccount

MIN_NORMAL_S = 1.0
NORMAL_FACTOR = 2.0


def time_to_settle_s(account: RideAccount) -> float:
    """From the intended moment to the booking's outcome; only for accounts that were answered."""
    return (settled_at(account) - account.sample.intended_at).total_seconds()


def settled_at(account: RideAccount) -> datetime:
    """Where booking has no outcome: the moment it was offered."""
    moment = account.row.settled_at if account.row else None
    return moment or account.sample.intended_at


def recovery_s(accounts: Sequence[RideAccount], window: FaultWindow | None) -> float | None:
    """Seconds from the end of the fault until the plan's completions are back.

    A ride that was open when the fault began, or offered later, is disturbed if the business never answered it
    (refused, failed, expired, parked), or only after more than a second and twice the plan's slowest outcome of those
    that were in by then. A ride answered late is over when it was settled, an unanswered one counts at the moment it
    was offered. The plan is back when the last disturbed ride is over: backlog drained, and newcomers treated as
    before. 0.0 where that was no later than the fault's end.

    None where it cannot be measured: no fault, a ride still in flight, or no ride answered that was offered after the
    last unanswered one, so that nobody saw the plan come back.
    """
    if window is None or any(not account.at_rest for account in accounts):
        return None
    since = [account for account in accounts if settled_at(account) >= window.started_at]
    if not recovery_observed(since):
        return None
    usual = normal_limit_s(account for account in accounts if settled_at(account) < window.started_at)
    over = [moment for account in since if (moment := disturbance_end(account, usual))]
    return round(max([0.0, *((moment - window.ended_at).total_seconds() for moment in over)]), 3)


def normal_limit_s(accounts: Iterable[RideAccount]) -> float:
    slowest = max((time_to_settle_s(account) for account in accounts if account.answered), default=0.0)
    return max(MIN_NORMAL_S, NORMAL_FACTOR * slowest)


def disturbance_end(account: RideAccount, limit_s: float) -> datetime | None:
    """When this ride's disturbance was over; None where it was not disturbed."""
    if not account.answered:
        return account.sample.intended_at
    return settled_at(account) if time_to_settle_s(account) > limit_s else None


def recovery_observed(accounts: Sequence[RideAccount]) -> bool:
    unanswered = [account.sample.intended_at for account in accounts if not account.answered]
    answered = [account.sample.intended_at for account in accounts if account.answered]
    return bool(answered) and (not unanswered or max(answered) > max(unanswered))


def answered_per_bin(accounts: Iterable[RideAccount], start: datetime, bin_s: float, bins: int) -> tuple[int, ...]:
    """How many rides the business answered in each bin of time from ``start`` on."""
    return histogram((settled_at(account) for account in accounts if account.answered), start, bin_s, bins)


def histogram(moments: Iterable[datetime], start: datetime, bin_s: float, bins: int) -> tuple[int, ...]:
    """What lies outside the first and last bin is counted in them: nothing disappears from the picture."""
    counts = [0] * bins
    for moment in moments:
        position = int((moment - start) / timedelta(seconds=bin_s))
        counts[min(max(position, 0), bins - 1)] += 1
    return tuple(counts)
