"""Cells of the variability matrix: what rides show about a change of one side of their flow. Pure.

Coupling is a measure of independent variability: a side is independent of a change of the other one if its rides are
answered as before, and it has not been changed itself.
"""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec

from prebook.lab.ledger.accounts import RideAccount
from prebook.lab.ledger.recovery_time import disturbance_end, normal_limit_s, settled_at, time_to_settle_s

MEDIAN_DELAY_S = 0.75
"""Seconds by which the median ride takes longer if a change delays for good; the first poll comes after a second."""
LONG_WAIT_S = 3.0
"""Seconds by which a ride takes longer if it waits for a side that is away; the start of a process costs less."""
LONG_WAIT_SHARE = 0.25
"""Share of the rides offered during a change that wait so long if the change delays."""
STEADY_SHARE = 0.5
"""Share of the rides offered well after the change that must be served for the other side to go on unchanged."""


class Verdict(StrEnum):
    """Consequence of a change of one side of a flow for the other side."""

    INDEPENDENT = "independent"
    """All rides are answered as before."""
    DELAYED = "delayed"
    """All rides are answered without a change of the other side: later than before, or after a long wait."""
    BREAKS = "breaks"
    """Some rides are not answered; later ones are, without a change of the other side."""
    MUST_CHANGE = "must change"
    """Rides are not answered as before until the other side is changed, too."""


class RideCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Rides that were open when the change began, or were offered later. ``offered`` = answered + failed."""

    offered: int
    answered: int
    """Confirmed or rejected, in the end."""
    failed: int
    """Refused, failed, expired, or without an outcome, in the end."""
    parked: int
    """Rides with a message that an operator had to send again: a dead letter, or one that its sender gave up."""
    late: int
    """Answered in more than twice the time of the slowest ride before the change."""
    wrong: int
    """Answered, but not as before: with another fare, or without the further subscriber's knowledge."""


@dataclass(frozen=True)
class TrialTimes:
    """Begin and end of a change, and the time in which steady rides are offered: when circuits and backlogs settled."""

    began_at: datetime
    ended_at: datetime
    steady_from: datetime
    steady_until: datetime

    def is_steady(self, account: RideAccount) -> bool:
        """Return whether a ride was offered well after the change, and long enough before the observation."""
        return self.steady_from <= account.sample.intended_at < self.steady_until


@dataclass(frozen=True)
class Observation:
    """Knowledge about the rides of one coupling at one moment; ``parked`` and ``wrong`` are idempotency keys."""

    accounts: Sequence[RideAccount]
    parked: frozenset[str] = frozenset()
    wrong: frozenset[str] = frozenset()

    def is_served(self, account: RideAccount) -> bool:
        """Return whether a ride was answered as before the change."""
        return account.answered and account.sample.key not in self.wrong


class NothingShown(Exception):
    """Too few rides to judge a change; the text says which ones are missing."""


@dataclass(frozen=True)
class Judgement:
    """Verdict about one coupling, with its figures. ``normal_after_s``: None if rides never became normal again.

    ``causes``: number of failed rides by the reason that their riders, or booking, know.
    """

    verdict: Verdict
    counts: RideCounts
    normal_after_s: float | None
    causes: Mapping[str, int]


def judge(observed: Observation, final: Observation, times: TrialTimes) -> Judgement:
    """Judge the rides of one coupling.

    ``observed``: before the other side was changed. ``final``: when all rides are at rest. Raises NothingShown.
    """
    before = [account for account in final.accounts if _ended_before(account, times.began_at)]
    if not before:
        raise NothingShown("no ride was answered before the change")
    if not any(map(times.is_steady, observed.accounts)):
        raise NothingShown("no ride was offered well after the change")
    affected = [account for account in final.accounts if not _ended_before(account, times.began_at)]
    counts = _count(affected, final, observed.parked | final.parked, normal_limit_s(before))
    stays_late = _median_s(filter(times.is_steady, affected)) > _median_s(before) + MEDIAN_DELAY_S
    limit_s = _median_s(before) + (MEDIAN_DELAY_S if stays_late else LONG_WAIT_S)
    is_delayed = stays_late or _makes_wait(affected, times, limit_s)
    return Judgement(
        verdict=_verdict(counts, is_delayed=is_delayed) if goes_on(observed, times) else Verdict.MUST_CHANGE,
        counts=counts,
        normal_after_s=_normal_after_s(affected, final, times.began_at, limit_s),
        causes=Counter(_cause(account) for account in affected if not account.answered),
    )


def goes_on(observed: Observation, times: TrialTimes) -> bool:
    """Return whether rides are answered as before some time after the change, though the other side is unchanged."""
    steady = [account for account in observed.accounts if times.is_steady(account)]
    return count_served(observed, times) >= STEADY_SHARE * len(steady)


def count_served(observed: Observation, times: TrialTimes) -> int:
    """Return the number of steady rides that were answered as before the change."""
    return sum(times.is_steady(account) and observed.is_served(account) for account in observed.accounts)


def _verdict(counts: RideCounts, *, is_delayed: bool) -> Verdict:
    if counts.failed or counts.wrong:
        return Verdict.BREAKS
    return Verdict.DELAYED if is_delayed else Verdict.INDEPENDENT


def _makes_wait(affected: Sequence[RideAccount], times: TrialTimes, limit_s: float) -> bool:
    """Return whether many of the rides that were open or offered during the change waited longer than ``limit_s``."""
    during = [account for account in affected if account.sample.intended_at < times.ended_at]
    waited = sum(account.answered and time_to_settle_s(account) > limit_s for account in during)
    return waited > 0 and waited >= LONG_WAIT_SHARE * len(during)


def _median_s(accounts: Iterable[RideAccount]) -> float:
    """Return the median time to settle of answered rides in seconds; 0 if none is answered."""
    times_s = [time_to_settle_s(account) for account in accounts if account.answered]
    return statistics.median(times_s) if times_s else 0.0


def _count(affected: Sequence[RideAccount], final: Observation, parked: frozenset[str], limit_s: float) -> RideCounts:
    answered = [account for account in affected if account.answered]
    return RideCounts(
        offered=len(affected),
        answered=len(answered),
        failed=len(affected) - len(answered),
        parked=_count_keys(affected, parked),
        late=sum(time_to_settle_s(account) > limit_s for account in answered),
        wrong=_count_keys(answered, final.wrong),
    )


def _normal_after_s(
    affected: Sequence[RideAccount], final: Observation, began_at: datetime, limit_s: float
) -> float | None:
    """Return the seconds from the begin of the change to the end of the last ride that it disturbed."""
    ends = [end for account in affected if (end := _disturbance_end(account, final, limit_s))]
    last_end = max(ends, default=began_at)
    if not any(final.is_served(account) and account.sample.intended_at >= last_end for account in affected):
        return None if ends else 0.0
    return round((last_end - began_at).total_seconds(), 1)


def _disturbance_end(account: RideAccount, final: Observation, limit_s: float) -> datetime | None:
    if account.answered and not final.is_served(account):
        return account.sample.intended_at
    return disturbance_end(account, limit_s)


def _cause(account: RideAccount) -> str:
    """Return why a ride was not answered, as booking's row says, or else the response to its rider."""
    if account.row is not None:
        return account.row.reason or account.row.state
    sample = account.sample
    return sample.reason or (sample.refusals[-1].reason if sample.refusals else sample.error_kind or "no booking")


def _ended_before(account: RideAccount, moment: datetime) -> bool:
    return account.sample.intended_at < moment and account.answered and settled_at(account) < moment


def _count_keys(accounts: Iterable[RideAccount], keys: frozenset[str]) -> int:
    return sum(account.sample.key in keys for account in accounts)
