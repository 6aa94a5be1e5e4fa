"""Law of an outage that is shorter than the deadlines: plans that wait for the provider answer every ride, delayed.

A law about counts: a campaign that violates it has failed.
"""

from collections.abc import Iterator

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.lab.report.model import PlanResult, ScenarioReport

MIN_RIDES_IN_OUTAGE = 10.0
"""Expected number of synchronous rides during the outage from which on one of them must have remained unanswered; with
fewer, arrivals may by chance have left the outage out."""


def outage_problems(scenario: ScenarioReport) -> Iterator[str]:
    """Yield every violation of the law in a scenario that it applies to."""
    if not scenario.outage_is_bridged or scenario.fault is None:
        return
    target = scenario.fault.target
    share = scenario.fault.duration_s / scenario.arrivals.duration_s
    for result in scenario.results:
        ledger = result.ledger
        if waits_for(target, result):
            if result.accepted < ledger.offered or ledger.unanswered:
                yield (
                    f"{scenario.name}: {result.label} waits for {target}, but accepted {result.accepted} and answered "
                    f"{ledger.answered} of {ledger.offered} rides instead of all"
                )
        elif not ledger.unanswered and ledger.offered * share >= MIN_RIDES_IN_OUTAGE:
            yield (
                f"{scenario.name}: {result.label} calls {target} synchronously, but answered all {ledger.offered} "
                f"rides: {target} was not away"
            )


def waits_for(provider: str, result: PlanResult) -> bool:
    """Return whether the plan calls the provider by couplings that wait for it only."""
    couplings = [result.plan[flow.name] for flow in FLOWS.values() if flow.provider == provider]
    return Coupling.SYNC_API not in couplings
