"""Evidence that the machine was overloaded: work was slow that no injected fault slowed down. Pure.

A synchronous call fails when its provider is slow, whatever the reason. An overload slows everything down, a defect
some of it: one slow ride among quick ones is no sign of an overload.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta

from prebook.flows import SERVICES
from prebook.lab.chaos.fault_periods import CIRCUIT_MARGIN, FaultPeriod, Period, delaying
from prebook.lab.chaos.slowness import MACHINE, SLOW_RESPONSE_S, SlowPeriod
from prebook.lab.faults.effects import WAITING_COUPLINGS, FaultEffect, Transport
from prebook.lab.ledger.accounts import RideAccount
from prebook.lab.ledger.recovery_time import known_at

SLOW_RIDE_S = 1.5
"""Seconds from request to outcome that count as slow: five times the usual, and half of a call's timeout."""
MAX_SLOW_RIDE_S = 10.0
"""Seconds from request to outcome above which a ride has waited for something else than a processor."""
MIN_STALL_S = 1.9
"""Seconds without a response to a readiness check, whose timeout is 2 s, after which a rider's request may get none:
booking responds to it within 8 s, and the rider waits for 10."""
MIN_SLOW_SHARE = 0.5
"""Share of the rides offered at about one time that must be slow."""
CALL_TRANSPORTS = frozenset({Transport.HTTP, Transport.EDGE})


def overload_periods(
    slow: Iterable[SlowPeriod], accounts: Sequence[RideAccount], faults: Sequence[FaultPeriod]
) -> tuple[FaultPeriod, ...]:
    """Return the periods in which the machine was overloaded, with the services whose work was seen to be slow.

    A slow check or response shows that one service was slow; those of two services at about the same time, slow rides,
    or the load of the machine show that all were. Only rides without a synchronous call are considered, and responses
    and rides count only if most of those offered at about the same time were as slow. An overload delays calls of its
    services, also shortly before and after it was observed.
    """
    waiting = sorted(filter(is_waiting_ride, accounts), key=lambda account: account.sample.intended_at)
    checks = [check for check in (*slow, *slow_responses(waiting)) if not is_check_delayed(check, faults)]
    rides = [account for account in waiting if not is_ride_delayed(account, faults)]
    return (
        *(overload(period_of_check(check), slow_services(check, checks)) for check in checks),
        *(overload(waiting_period(account), frozenset(SERVICES)) for account in most_slow(rides, is_slow_ride)),
    )


def stall_periods(slow: Iterable[SlowPeriod], service: str) -> tuple[Period, ...]:
    """Return the periods in which ``service`` did not even respond to a readiness check within MIN_STALL_S."""
    periods = [period_of_check(check) for check in slow if check.service == service]
    return tuple(period for period in periods if (period.end - period.start).total_seconds() >= MIN_STALL_S)


def slow_services(check: SlowPeriod, checks: Sequence[SlowPeriod]) -> frozenset[str]:
    """Return the services that were slow at the time of ``check``: all if another one or the machine was, too."""
    period = period_of_check(check).widened(CIRCUIT_MARGIN)
    is_alone = all(other.service == check.service for other in checks if period_of_check(other).overlaps(period))
    return frozenset({check.service} if is_alone and check.service != MACHINE else SERVICES)


def period_of_check(check: SlowPeriod) -> Period:
    """Return the time that a check or response took."""
    return Period(check.started_at, check.ended_at)


def overload(period: Period, services: frozenset[str]) -> FaultPeriod:
    """Return an overload of ``services`` that was observed in ``period``."""
    return FaultPeriod("overload", period.widened(CIRCUIT_MARGIN), FaultEffect(services, CALL_TRANSPORTS))


def slow_responses(waiting: Sequence[RideAccount]) -> Iterator[SlowPeriod]:
    """Yield the slow responses of booking to requests for which it calls no other service, where most were slow."""
    for account in most_slow(waiting, is_slow_response):
        start = account.sample.intended_at
        yield SlowPeriod("booking", start, start + timedelta(milliseconds=account.sample.response_ms or 0.0))


def most_slow(accounts: Sequence[RideAccount], is_slow: Callable[[RideAccount], bool]) -> Iterator[RideAccount]:
    """Yield the slow ones of ``accounts`` of whose neighbours in time, themselves excluded, most were slow too.

    ``accounts`` are sorted by the time of their offer.
    """
    offered = [account.sample.intended_at for account in accounts]
    slow = [is_slow(account) for account in accounts]
    for account, offered_at, slow_itself in zip(accounts, offered, slow, strict=True):
        if slow_itself:
            first = bisect_left(offered, offered_at - CIRCUIT_MARGIN)
            last = bisect_right(offered, offered_at + CIRCUIT_MARGIN)
            others = last - first - 1
            if others and sum(slow[first:last]) - 1 >= MIN_SLOW_SHARE * others:
                yield account


def is_slow_response(account: RideAccount) -> bool:
    """Return whether booking took SLOW_RESPONSE_S or longer to respond."""
    return (account.sample.response_ms or 0.0) >= SLOW_RESPONSE_S * 1e3


def is_slow_ride(account: RideAccount) -> bool:
    """Return whether a ride took as long as on an overloaded machine."""
    period = waiting_period(account)
    return SLOW_RIDE_S <= (period.end - period.start).total_seconds() <= MAX_SLOW_RIDE_S


def is_check_delayed(check: SlowPeriod, faults: Iterable[FaultPeriod]) -> bool:
    """Return whether a fault slowed a check or response down, shortly before and after it included."""
    period = period_of_check(check).widened(CIRCUIT_MARGIN)
    return any(
        fault.period.overlaps(period) and fault.effect.delays({check.service}, Transport.HTTP) for fault in faults
    )


def is_ride_delayed(account: RideAccount, faults: Sequence[FaultPeriod]) -> bool:
    """Return whether a fault delayed a flow of the ride's plan while the ride was under way."""
    plan = account.row.couplings if account.row else {}
    period = waiting_period(account)
    return any(fault.period.overlaps(period) for fault in delaying(faults, tuple(plan), plan))


def is_waiting_ride(account: RideAccount) -> bool:
    """Return whether the ride was answered and made no synchronous call."""
    return account.answered and account.row is not None and WAITING_COUPLINGS.issuperset(account.row.couplings.values())


def waiting_period(account: RideAccount) -> Period:
    """Return the time from the rider's request to the outcome."""
    return Period(account.sample.intended_at, max(known_at(account), account.sample.intended_at))
