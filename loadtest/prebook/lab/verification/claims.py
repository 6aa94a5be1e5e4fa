"""Claims about the couplings, each judged on the numbers of one run. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from prebook.contracts.plan import Coupling
from prebook.lab.quantiles import LatencySummary, format_ms
from prebook.lab.report.model import CampaignReport, PlanResult, ScenarioReport
from prebook.lab.report.outage_law import waits_for
from prebook.lab.report.ranking import join_words
from prebook.lab.report.verdict import clock_problems, was_too_busy

MAX_ACCEPT_SHARE = 0.5
"""Largest share of the synchronous time to accept that a coupling which does not wait may need."""


class ClaimStatus(StrEnum):
    """Verdict of a run on a claim."""

    HELD = "held"
    NOT_HELD = "not held"
    NOT_MEASURABLE = "not measurable here"


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """Status of a claim in one run, with the numbers, or the reason why there are none."""

    status: ClaimStatus
    evidence: str


@dataclass(frozen=True)
class Claim:
    """A claim: its name, the claims of the talk that it belongs to, a sentence, its scenario, and its test."""

    name: str
    talk: tuple[str, ...]
    text: str
    scenario: str
    judge: Callable[[ScenarioReport], Judgement]
    is_about_time: bool = False
    """Whether a machine that was too busy for the rate makes the claim not measurable."""


def judge_claim(claim: Claim, report: CampaignReport) -> Judgement:
    """Return the verdict of a run on a claim, with the numbers."""
    scenario = next((item for item in report.scenarios if item.name == claim.scenario), None)
    if scenario is None:
        return not_measurable(absence_reason(claim.scenario, report))
    if reasons := list(clock_problems(scenario)):
        return not_measurable(reasons[0])
    if scenario.fault and not (scenario.fault_window and scenario.fault_window.took_effect):
        return not_measurable(f"the fault of {scenario.name} had no effect")
    if scenario.generator.invalid or (claim.is_about_time and was_too_busy(scenario)):
        return not_measurable("the machine was too busy")
    return claim.judge(scenario)


def absence_reason(scenario: str, report: CampaignReport) -> str:
    """Return why a scenario has no results."""
    reasons = {row.scenario: row.not_measured_reason for row in report.matrix if row.not_measured_reason}
    return {**reasons, **report.skipped}.get(scenario, f"the run has no scenario {scenario}")


def not_measurable(reason: str) -> Judgement:
    """Return the judgement of a claim that a run cannot show."""
    return Judgement(status=ClaimStatus.NOT_MEASURABLE, evidence=reason)


def judged(evidence: str, *, holds: bool) -> Judgement:
    """Return the judgement of a claim with its numbers."""
    return Judgement(status=ClaimStatus.HELD if holds else ClaimStatus.NOT_HELD, evidence=evidence)


def judge_outcomes(scenario: ScenarioReport) -> Judgement:
    """Judge whether all plans reached the same outcomes."""
    hashes = {result.outcome_hash for result in scenario.results}
    return judged(f"{len(hashes)} outcome(s) of {len(scenario.results)} plans", holds=len(hashes) == 1)


def judge_early_acceptance(scenario: ScenarioReport) -> Judgement:
    """Judge whether each other uniform plan accepts in at most MAX_ACCEPT_SHARE of the time of ``sync_api``."""
    medians = uniform_medians(scenario, lambda result: result.latency_ms.accepted)
    sync_ms = medians.pop(Coupling.SYNC_API.value, None)
    if sync_ms is None or not medians:
        return not_measurable("no accepted rides")
    slowest = max(medians.values())
    evidence = f"{format_ms(slowest)} at most, sync_api {format_ms(sync_ms)}"
    return judged(evidence, holds=slowest <= MAX_ACCEPT_SHARE * sync_ms)


def judge_first_settled(scenario: ScenarioReport) -> Judgement:
    """Judge whether ``sync_api`` has the lowest median time to settle of the uniform plans."""
    medians = uniform_medians(scenario, lambda result: result.latency_ms.settled)
    sync_ms = medians.pop(Coupling.SYNC_API.value, None)
    if sync_ms is None or not medians:
        return not_measurable("no settled rides")
    fastest = min(medians.values())
    return judged(f"sync_api {format_ms(sync_ms)}, others at least {format_ms(fastest)}", holds=sync_ms < fastest)


def uniform_medians(scenario: ScenarioReport, latency_of: Callable[[PlanResult], LatencySummary]) -> dict[str, float]:
    """Return the median latency in milliseconds of each plan with one coupling for all flows."""
    latencies = {result.label: latency_of(result) for result in scenario.results if result.label in list(Coupling)}
    return {label: latency.p50 for label, latency in latencies.items() if latency.count}


def judge_all_answered(labels: Callable[[ScenarioReport], Sequence[str]]) -> Callable[[ScenarioReport], Judgement]:
    """Return the test whether the plans ``labels`` of a scenario answered every ride."""
    return lambda scenario: judge_answered(scenario, labels(scenario), answers_all=True)


def judge_some_unanswered(labels: Callable[[ScenarioReport], Sequence[str]]) -> Callable[[ScenarioReport], Judgement]:
    """Return the test whether each of the plans ``labels`` of a scenario left a ride unanswered."""
    return lambda scenario: judge_answered(scenario, labels(scenario), answers_all=False)


def judge_answered(scenario: ScenarioReport, labels: Sequence[str], *, answers_all: bool) -> Judgement:
    """Judge whether each of the plans answered every ride, or none of them did."""
    ledgers = {result.label: result.ledger for result in scenario.results if result.label in labels}
    evidence = ", ".join(f"{label} {ledger.answered} of {ledger.offered}" for label, ledger in ledgers.items())
    return judged(evidence, holds=all((ledger.unanswered == 0) is answers_all for ledger in ledgers.values()))


def judge_no_duplicate(scenario: ScenarioReport) -> Judgement:
    """Judge whether no plan duplicated an effect."""
    duplicated = scenario.totals["duplicated"]
    return judged(f"{duplicated} of {scenario.totals['offered']} rides duplicated", holds=duplicated == 0)


def judge_nothing_lost(scenario: ScenarioReport) -> Judgement:
    """Judge whether every ledger closes without a lost ride."""
    open_plans = [result.label for result in scenario.results if not result.ledger.closes]
    lost = scenario.totals["lost"]
    open_text = f"; open: {join_words(open_plans)}" if open_plans else ""
    return judged(f"{lost} of {scenario.totals['offered']} rides lost{open_text}", holds=not lost and not open_plans)


def judge_refusals(scenario: ScenarioReport) -> Judgement:
    """Judge whether riders beyond the capacity were refused, each with a Retry-After."""
    overload = scenario.overload
    if overload is None:
        return not_measurable("the capacity is unknown")
    evidence = f"{overload.refusals} refusals, {overload.refusals_without_retry_after} without a Retry-After"
    return judged(evidence, holds=overload.refusals > 0 and overload.refusals_without_retry_after == 0)


def plans(*labels: str) -> Callable[[ScenarioReport], Sequence[str]]:
    """Return a function that selects the plans ``labels`` of any scenario."""
    return lambda _: labels


def every_plan(scenario: ScenarioReport) -> Sequence[str]:
    """Return all plans of a scenario."""
    return [result.label for result in scenario.results]


def waiting_plans(scenario: ScenarioReport) -> Sequence[str]:
    """Return the plans that wait for the target of the scenario's fault."""
    target = scenario.fault.target if scenario.fault else ""
    return [result.label for result in scenario.results if waits_for(target, result)]


def calling_plans(scenario: ScenarioReport) -> Sequence[str]:
    """Return the plans that call the target of the scenario's fault synchronously."""
    waiting = waiting_plans(scenario)
    return [label for label in every_plan(scenario) if label not in waiting]


LOSSLESS_SCENARIOS: Mapping[str, tuple[str, ...]] = {
    "calm": ("C1",),
    "overload": ("E9",),
    "pricing_down": ("G1",),
    "matching_paused": ("G1",),
    "connections_cut": ("C3",),
    "broker_restart": ("C3", "G1"),
    "memory_alarm": ("G1",),
    "database_restart": ("G1",),
}
"""Scenario in which no ride may be lost -> claims of the talk."""

CLAIMS: tuple[Claim, ...] = (
    Claim("equal-outcomes", ("B9",), "All plans reach the same outcomes.", "calm", judge_outcomes, is_about_time=True),
    Claim(
        "early-acceptance",
        ("C2",),
        "async_api, one_way and request_reply accept a ride in at most half of the time of sync_api.",
        "calm",
        judge_early_acceptance,
        is_about_time=True,
    ),
    Claim(
        "sync-settles-first",
        ("A3", "C6"),
        "Without a fault, sync_api settles rides earliest.",
        "calm",
        judge_first_settled,
        is_about_time=True,
    ),
    Claim(
        "outage-bridged",
        ("B8", "C5"),
        "Plans that wait for pricing answer every ride of its outage.",
        "pricing_down",
        judge_all_answered(waiting_plans),
    ),
    Claim(
        "outage-hurts-callers",
        ("B8", "C5"),
        "Plans that call pricing synchronously leave rides of its outage unanswered.",
        "pricing_down",
        judge_some_unanswered(calling_plans),
    ),
    Claim(
        "broker-not-needed",
        ("C5",),
        "sync_api and async_api answer every ride while the broker restarts.",
        "broker_restart",
        judge_all_answered(plans("sync_api", "async_api")),
    ),
    Claim(
        "blocked-broker-bridged",
        ("C5",),
        "While the broker blocks publishers, every plan answers every ride.",
        "memory_alarm",
        judge_all_answered(every_plan),
    ),
    Claim(
        "database-needed",
        ("C5",),
        "Every plan leaves rides unanswered while the database restarts.",
        "database_restart",
        judge_some_unanswered(every_plan),
    ),
    Claim(
        "duplicates-discarded",
        ("G8",),
        "A message that is delivered twice takes effect once.",
        "duplicates",
        judge_no_duplicate,
    ),
    Claim(
        "overload-refused",
        ("E9",),
        "Riders beyond the capacity are refused, each with a Retry-After.",
        "overload",
        judge_refusals,
    ),
    *(
        Claim(f"nothing-lost-{name}", talk, f"No ride is lost in {name}.", name, judge_nothing_lost)
        for name, talk in LOSSLESS_SCENARIOS.items()
    ),
)
