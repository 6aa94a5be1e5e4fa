"""A trial: one variation is applied to the running suite under load, in all couplings at once."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from prebook.contracts.plan import Coupling
from prebook.lab.background import run_in_background
from prebook.lab.experiments.timer_lag import TimerLag
from prebook.lab.experiments.variability.cell import (
    STEADY_SHARE,
    NothingShown,
    Observation,
    RideCounts,
    TrialTimes,
    Verdict,
    goes_on,
    judge,
)
from prebook.lab.experiments.variability.message_counter import MessageCounter
from prebook.lab.experiments.variability.site import TrialSite
from prebook.lab.experiments.variability.variation import Variation
from prebook.lab.ledger.recovery_time import settled_at

MIN_RIDES_BEFORE = 3
"""Rides of each plan that are answered before the change, however long a busy machine takes for them."""


SEVERITY = tuple(Verdict)
"""Verdicts, the mildest first."""


class TrialSize(msgspec.Struct, frozen=True, kw_only=True):
    """Size of a trial. Times are in seconds."""

    rides_per_s: int = 1
    """Rides offered per second under each plan."""
    before_s: float = 4.0
    """Before the change, and again after the other side was changed."""
    away_s: float = 8.0
    """For which a side is away, if that is the change."""
    settling_s: float = 4.0
    """After the change of either side, in which circuits may stay open and backlogs drain."""
    steady_s: float = 5.0
    """After that, in which rides are offered that must be answered."""
    patience_s: float = 6.0
    """For which these rides are awaited at most."""
    rest_timeout_s: float = 45.0
    """For which the outcomes of all rides are awaited at most."""


QUICK = TrialSize(before_s=3.0, away_s=5.0, steady_s=3.0, patience_s=5.0)


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of the matrix: a variation in one coupling. Without ``verdict`` it was not measured, for ``reason``."""

    coupling: Coupling
    verdict: Verdict | None
    expected: Verdict
    reason: str
    """Reason of the expected verdict, or why nothing was measured."""
    doubt: str = ""
    """Why times of this trial say little; empty if they do not."""
    counts: RideCounts | None = None
    causes: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Number of failed rides by the reason that their riders, or booking, know."""
    normal_after_s: float | None = None
    """Seconds from the begin of the change until rides were answered as before; null if they never were."""
    messages_per_ride: float | None = None
    """Requests and replies sent per answered ride after the change; the response of a synchronous call is none."""
    followed_by: str = ""
    """Change of the other side; empty if it had to change nothing."""
    settings_changed: int = 0
    """Settings of the other side that were changed."""
    files_changed: int = 0
    """Files of the other side's program that were changed."""
    served_again: bool = True
    """Whether rides were answered as before once the other side was changed; true if it had to change nothing."""

    @property
    def is_inconclusive(self) -> bool:
        """Whether a busy machine can have caused a difference from the expected verdict: by lateness, or for the worse.

        A change that goes unnoticed although it was to break something is no matter of time.
        """
        if self.verdict is None or not self.doubt or self.verdict is self.expected:
            return bool(self.doubt) and not self.served_again
        in_time = {self.verdict, self.expected} == {Verdict.INDEPENDENT, Verdict.DELAYED}
        return in_time or SEVERITY.index(self.verdict) > SEVERITY.index(self.expected)

    @property
    def is_as_expected(self) -> bool:
        """Whether nothing contradicts the expected verdict."""
        return self.is_inconclusive or (self.verdict is self.expected and self.served_again)


@dataclass(frozen=True)
class TrialResult:
    """Cells of a trial, one for each measured coupling."""

    variation: Variation
    cells: Sequence[Cell]
    seconds: float


async def run_trial(variation: Variation, site: TrialSite, size: TrialSize, messages: MessageCounter) -> TrialResult:
    """Apply a variation under load; change the other side only if rides are not answered without that.

    Raises:
        UserError: A service could not be deployed, or does not answer.
    """
    started_at = datetime.now(UTC)
    followed_at = None
    lag = TimerLag()
    async with run_in_background(lag.watch()), site.load.run():
        await asyncio.sleep(size.before_s)
        await site.wait_until_answered(MIN_RIDES_BEFORE, size.rest_timeout_s)
        began_at = datetime.now(UTC)
        await variation.apply(site)
        times = plan_times(began_at, datetime.now(UTC), size)
        sent_before = await messages.read()
        await asyncio.sleep(size.settling_s + size.steady_s)
        observed = await site.observe_steady(times, round(size.steady_s * size.rides_per_s), size.patience_s)
        observed_at = datetime.now(UTC)
        sent = await messages.read() - sent_before
        stuck = [label for label, seen in observed.items() if not goes_on(seen, times)]
        if stuck and variation.follow_up:
            await variation.follow_up.apply(site)
            await asyncio.sleep(size.settling_s)
            followed_at = datetime.now(UTC)
            await asyncio.sleep(size.before_s)
    await site.wait_until_at_rest(size.rest_timeout_s)
    final = await site.observe()
    return TrialResult(
        variation=variation,
        cells=tuple(
            build_cell(
                variation,
                coupling,
                TrialEvidence(
                    observed=observed[coupling],
                    final=final[coupling],
                    times=times,
                    observed_at=observed_at,
                    followed_at=followed_at,
                    sent=sent[coupling],
                    doubt=lag.doubt,
                ),
            )
            for coupling in variation.expected
        ),
        seconds=round((datetime.now(UTC) - started_at).total_seconds(), 1),
    )


def unmeasured(variation: Variation, reason: str) -> TrialResult:
    """Return the result of a trial that could not be run to its end, for ``reason``."""
    cells = [
        Cell(coupling=coupling, verdict=None, expected=expectation.verdict, reason=reason)
        for coupling, expectation in variation.expected.items()
    ]
    return TrialResult(variation, cells, 0.0)


def plan_times(began_at: datetime, ended_at: datetime, size: TrialSize) -> TrialTimes:
    """Return the times of a change that has ended."""
    steady_from = ended_at + timedelta(seconds=size.settling_s)
    return TrialTimes(began_at, ended_at, steady_from, steady_from + timedelta(seconds=size.steady_s))


@dataclass(frozen=True, kw_only=True)
class TrialEvidence:
    """Evidence of a trial about one coupling.

    ``sent``: messages from the end of the change until ``observed_at``. ``followed_at``: when the change of the
    other side had settled; None if it was not changed.
    """

    observed: Observation
    final: Observation
    times: TrialTimes
    observed_at: datetime
    followed_at: datetime | None
    sent: int
    doubt: str

    @property
    def settled(self) -> int:
        """Number of rides that were answered while messages were counted."""
        accounts = (account for account in self.final.accounts if account.answered)
        return sum(self.times.ended_at <= settled_at(account) < self.observed_at for account in accounts)

    @property
    def is_served_again(self) -> bool:
        """Whether most rides that were offered after the change of the other side were answered as before."""
        if self.followed_at is None:
            return False
        later = [each for each in self.final.accounts if each.sample.intended_at >= self.followed_at]
        return bool(later) and sum(map(self.final.is_served, later)) >= STEADY_SHARE * len(later)


def build_cell(variation: Variation, coupling: Coupling, evidence: TrialEvidence) -> Cell:
    """Return the cell of one coupling; one without rides enough is not measured."""
    expectation = variation.expected[coupling]
    try:
        judgement = judge(evidence.observed, evidence.final, evidence.times)
    except NothingShown as error:
        return Cell(coupling=coupling, verdict=None, expected=expectation.verdict, reason=str(error))
    cell = Cell(
        coupling=coupling,
        verdict=judgement.verdict,
        expected=expectation.verdict,
        reason=expectation.reason,
        doubt=evidence.doubt,
        counts=judgement.counts,
        causes=judgement.causes,
        normal_after_s=judgement.normal_after_s,
        messages_per_ride=round(evidence.sent / evidence.settled, 1) if evidence.settled else None,
    )
    follow_up = variation.follow_up
    if judgement.verdict is not Verdict.MUST_CHANGE or follow_up is None:
        return cell
    return msgspec.structs.replace(
        cell,
        followed_by=follow_up.text,
        settings_changed=follow_up.settings,
        files_changed=follow_up.files,
        served_again=evidence.is_served_again,
    )
