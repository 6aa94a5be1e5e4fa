"""Verdict on a run of the experiment. Pure."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from prebook.contracts.plan import Coupling
from prebook.lab.chaos.checks import find_violations
from prebook.lab.chaos.evidence import Evidence
from prebook.lab.experiments.crash_points.cases import CrashSite, list_sites
from prebook.lab.experiments.crash_points.experiment import CaseResult
from prebook.lab.ledger.accounts import RideAccount
from prebook.lab.load.plans import PLANS
from prebook.messaging.crash_points import CrashPoint

MAX_NAMED = 5
"""Maximum number of rides or sites named in one problem."""


class CrashReport(msgspec.Struct, frozen=True, kw_only=True):
    """Details of the result, as --json prints them."""

    seed: int
    cases: int
    crashes: int
    """Processes that ended at a crash point."""
    pairs: int
    """Cases in which both processes crashed."""
    possible_pairs: int
    """Pairs of the sites that the run has reached, whether they were run or not."""
    rides: int
    confirmed: int
    unreached: tuple[str, ...]
    """Sites that no ride of the run has reached, as ``service.point``."""
    problems: tuple[str, ...]
    """Reasons why the run failed; empty if it passed."""

    @property
    def ok(self) -> bool:
        """Whether the run passed."""
        return not self.problems


def report(results: Sequence[CaseResult], evidence: Evidence, seed: int, possible_pairs: int) -> CrashReport:
    """Return the report on ``results`` and the rides of the run."""
    crashed = {site for result in results for site in result.crashed}
    accounts = evidence.reconciliation.accounts
    return CrashReport(
        seed=seed,
        cases=len(results),
        crashes=sum(len(result.crashed) for result in results),
        pairs=sum(len(result.crashed) > 1 for result in results),
        possible_pairs=possible_pairs,
        rides=len(accounts),
        confirmed=sum(account.outcome == "confirmed" for account in accounts),
        unreached=tuple(str(site) for site in list_sites() if site not in crashed),
        problems=(*violation_problems(evidence), *unanswered_problems(accounts), *coverage_problems(results, crashed)),
    )


def violation_problems(evidence: Evidence) -> Iterator[str]:
    """Yield the invariants that a ride violates."""
    for violation in find_violations(evidence):
        yield f"{violation.kind}: {violation.subject}: {violation.detail}"


def unanswered_rides(accounts: Sequence[RideAccount]) -> Sequence[RideAccount]:
    """Return the rides without an answer: a crash may fail a ride only where a caller waits for a reply."""
    return [account for account in accounts if not account.answered and can_wait(PLANS[account.sample.label])]


def unanswered_problems(accounts: Sequence[RideAccount]) -> Iterator[str]:
    """Yield the reasons of the rides without an answer."""
    unanswered = unanswered_rides(accounts)
    for account in unanswered[:MAX_NAMED]:
        reason = account.row.reason if account.row else account.sample.error_kind
        yield f"{account.booking_id or account.sample.key} ({account.sample.label}) ended {account.outcome}: {reason}"
    if len(unanswered) > MAX_NAMED:
        yield f"{len(unanswered) - MAX_NAMED} more rides without an answer"


def can_wait(plan: Mapping[str, Coupling]) -> bool:
    """Return whether no flow of ``plan`` is a synchronous call."""
    return Coupling.SYNC_API not in plan.values()


def coverage_problems(results: Sequence[CaseResult], crashed: set[CrashSite]) -> Iterator[str]:
    """Yield the crash points at which no service crashed, although each service was to crash there."""
    tried = {site.point for result in results for site in result.case}
    reached = {site.point for site in crashed}
    for point in CrashPoint:
        if point in tried - reached:
            yield f"no service crashed at {point}: it is not on the way of a ride, or the run is too short"
