"""Verdict in plain words, derived from the report's numbers alone: no plan is named or ranked in advance."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from prebook.lab.faults.model import FaultKind
from prebook.lab.ledger.clock_deviation import MAX_CLOCK_DEVIATION_S
from prebook.lab.ledger.discrepancies import DUPLICATED_KINDS, LOST_KINDS
from prebook.lab.load.samples import OUT_OF_DESCRIPTORS
from prebook.lab.quantiles import format_ms
from prebook.lab.report.matrix import MatrixCell, MatrixRow, cells_by_plan
from prebook.lab.report.model import (
    CampaignReport,
    CampaignVerdict,
    PlanResult,
    PlanTradeOff,
    ScenarioFinding,
    ScenarioReport,
)
from prebook.lab.report.outage_law import outage_problems
from prebook.lab.report.overload_law import overload_findings, overload_problems
from prebook.lab.report.ranking import Ranking, join_words, rankings


def matrix_findings(matrix: Sequence[MatrixRow]) -> Iterator[str]:
    """Yield one sentence about each plan of the failure matrix."""
    for label, cells in cells_by_plan(matrix).items():
        incomplete = [(row.scenario, cell) for row, cell in cells if not cell.all_answered]
        offered = sum(cell.offered for _, cell in cells)
        missed = sum(cell.offered - cell.answered for _, cell in incomplete)
        result = (
            f"left {missed} of {offered} rides unanswered, in {join_words([name for name, _ in incomplete])}"
            if incomplete
            else f"answered all {offered} rides under every fault"
        )
        yield f"{label} {result}{slowest_recovery(cells)}"


def slowest_recovery(cells: Sequence[tuple[MatrixRow, MatrixCell]]) -> str:
    """Return the part of a sentence about the slowest recovery, or an empty text."""
    recoveries = [(cell.recovery_s, row.scenario) for row, cell in cells if cell.recovery_s is not None]
    if not recoveries:
        return ""
    seconds, scenario = max(recoveries)
    return f"; its slowest recovery took {seconds:.1f} s after the end of the fault ({scenario})"


def trade_offs(scenarios: Sequence[ScenarioReport]) -> tuple[PlanTradeOff, ...]:
    """Return advantages and costs of every plan."""
    labels = [result.label for result in scenarios[0].results] if scenarios else []
    return tuple(
        PlanTradeOff(label=label, wins=tuple(list_wins(label, scenarios)), costs=tuple(list_costs(label, scenarios)))
        for label in labels
    )


def list_wins(label: str, scenarios: Sequence[ScenarioReport]) -> Iterator[str]:
    """Yield the advantages of one plan: best latencies, and scenarios in which it answered every ride."""
    for scenario in baseline_scenarios(scenarios):
        for ranking in rankings(scenario.results):
            if label in ranking.winners and ranking.losers:
                place = "best" if len(ranking.winners) == 1 else "tied for best"
                yield f"{place} {ranking.metric} in {scenario.name}: {format_ms(ranking.medians[label].p50)}"
    complete = [item.name for item in scenarios if has_unanswered(item) and not unanswered_count(label, item)]
    if complete:
        yield f"answered every ride in {join_words(complete)}, unlike other plans"


def list_costs(label: str, scenarios: Sequence[ScenarioReport]) -> Iterator[str]:
    """Yield the costs of one plan: higher latencies and unanswered rides."""
    for scenario in baseline_scenarios(scenarios):
        for ranking in rankings(scenario.results):
            if label in ranking.losers:
                factor = ranking.medians[label].p50 / max(ranking.best.p50, 0.001)
                median = format_ms(ranking.medians[label].p50)
                yield f"{factor:.1f} times the best {ranking.metric} in {scenario.name} ({median})"
    for scenario in scenarios:
        if count := unanswered_count(label, scenario):
            yield f"{count} of {result_of(label, scenario).ledger.offered} rides unanswered in {scenario.name}"


def baseline_scenarios(scenarios: Sequence[ScenarioReport]) -> Iterator[ScenarioReport]:
    """Return the scenarios whose latencies are compared."""
    return (scenario for scenario in scenarios if scenario.is_baseline)


def has_unanswered(scenario: ScenarioReport) -> bool:
    """Return whether any plan left a ride unanswered."""
    return any(result.ledger.unanswered for result in scenario.results)


def unanswered_count(label: str, scenario: ScenarioReport) -> int:
    """Return how many rides a plan left unanswered."""
    return result_of(label, scenario).ledger.unanswered


def result_of(label: str, scenario: ScenarioReport) -> PlanResult:
    """Return the result of one plan."""
    return next(result for result in scenario.results if result.label == label)


MAX_NAMED_DISCREPANCIES = 5
"""Largest number of discrepancies that a problem names one by one; the report lists all."""

ALL_FAULTS = "all faults"
"""Scenario name of findings about the failure matrix."""

NONE_SKIPPED: Mapping[str, str] = {}

MAX_SETTLE_S = 2.0
"""Seconds after the last response within which a suite without a fault must be at rest; later means overload."""


def with_verdict(report: CampaignReport) -> CampaignReport:
    """Return the report with its verdict."""
    return msgspec.structs.replace(report, verdict=verdict(report.scenarios, report.matrix, report.skipped))


def verdict(
    scenarios: Sequence[ScenarioReport], matrix: Sequence[MatrixRow] = (), skipped: Mapping[str, str] = NONE_SKIPPED
) -> CampaignVerdict:
    """Return the verdict on all scenarios and the failure matrix. ``skipped``: scenario -> why it did not run."""
    problems = tuple(line for scenario in scenarios for line in problems_of(scenario))
    doubts = tuple(line for scenario in scenarios for line in doubts_of(scenario))
    return CampaignVerdict(
        ok=not problems and not doubts,
        headline=headline(scenarios, problems, doubts),
        problems=problems,
        doubts=doubts,
        warnings=tuple(line for scenario in scenarios for line in warnings_of(scenario)),
        findings=(
            *(
                ScenarioFinding(scenario=scenario.name, text=text)
                for scenario in scenarios
                for text in findings_of(scenario)
            ),
            *(ScenarioFinding(scenario=ALL_FAULTS, text=text) for text in matrix_findings(matrix)),
        ),
        trade_offs=trade_offs(scenarios),
        not_measured=(
            *(line for scenario in scenarios for line in not_measured(scenario)),
            *(f"{row.scenario}: {row.not_measured_reason}" for row in matrix if row.not_measured_reason),
            *(f"{name}: {reason}" for name, reason in skipped.items()),
            *dead_letters_unknown(scenarios),
        ),
    )


def headline(scenarios: Sequence[ScenarioReport], problems: Sequence[str], doubts: Sequence[str]) -> str:
    """Return one sentence about the whole campaign."""
    offered = sum(scenario.totals["offered"] for scenario in scenarios)
    if problems:
        return f"Campaign failed: {len(problems)} problem(s) in {offered:,} rides."
    if doubts:
        return f"Not judged: the machine was too busy for {len(doubts)} figure(s); no failure in {offered:,} rides."
    answered = sum(scenario.totals["confirmed"] + scenario.totals["rejected"] for scenario in scenarios)
    return f"{offered:,} rides offered, {answered:,} answered, none lost, none duplicated, every ledger closes."


def problems_of(scenario: ScenarioReport) -> Iterator[str]:
    """Yield the problems of a scenario, each of which makes the campaign fail."""
    name = scenario.name
    lost = [item for item in scenario.discrepancies if item.kind in LOST_KINDS]
    duplicated = [item for item in scenario.discrepancies if item.kind in DUPLICATED_KINDS]
    other = [item for item in scenario.discrepancies if item.kind not in LOST_KINDS | DUPLICATED_KINDS]
    for kind, items in (("lost", lost), ("duplicated", duplicated), ("inconsistent", other)):
        if items:
            named = "; ".join(
                f"{item.booking_id or item.key}: {item.detail}" for item in items[:MAX_NAMED_DISCREPANCIES]
            )
            more = f"; and {len(items) - MAX_NAMED_DISCREPANCIES} more" if len(items) > MAX_NAMED_DISCREPANCIES else ""
            yield f"{name}: {len(items)} {kind} ({named}{more})"
    if not scenario.totals["offered"]:
        yield f"{name}: no ride was offered; raise --rate or --duration"
    for result in scenario.results:
        if not result.ledger.closes:
            yield f"{name}: the ledger of {result.label} does not close, {result.ledger.in_flight} ride(s) in flight"
    yield from measurement_problems(scenario)
    if scenario.is_baseline and not scenario.outcome_hashes_equal and not was_too_busy(scenario):
        yield f"{name}: the plans reached different outcomes for the same rides"
    if scenario.fault_window and not scenario.fault_window.took_effect:
        yield f"{name}: the fault had no effect ({scenario.fault_window.evidence})"
    yield from outage_problems(scenario)
    if not scenario.generator.invalid:
        yield from overload_problems(scenario)


def doubts_of(scenario: ScenarioReport) -> Iterator[str]:
    """Yield the reasons why a scenario cannot be judged on a machine that is this busy."""
    lag = scenario.generator
    if lag.invalid and scenario.fault is None:
        yield (
            f"{scenario.name}: the load generator lagged: p99 {format_ms(lag.lag_ms.p99)}, the limit is "
            f"{format_ms(lag.max_lag_ms)}; lower --rate, or use a machine with idle CPUs"
        )
    if scenario.is_baseline and not scenario.outcome_hashes_equal and was_too_busy(scenario):
        yield (
            f"{scenario.name}: the plans reached different outcomes on a machine that was too busy for the rate; lower "
            "--rate, or use a machine with idle CPUs"
        )


def was_too_busy(scenario: ScenarioReport) -> bool:
    """Return whether the machine was overloaded: refusals, rides that settled late, or a load generator that lagged.

    Failed rides are not a sign of it: a defect can cause them, too.
    """
    return scenario.totals["refused"] > 0 or scenario.settle_s > MAX_SETTLE_S or scenario.generator.lagged


def measurement_problems(scenario: ScenarioReport) -> Iterator[str]:
    """Yield the reasons why the load generator's figures cannot be used, other than a busy machine."""
    yield from clock_problems(scenario)
    if unsent := sum(result.errors.get(OUT_OF_DESCRIPTORS, 0) for result in scenario.results):
        yield (
            f"{scenario.name}: the result is invalid because the load generator had no file descriptor for {unsent} "
            "request(s); raise the limit (`ulimit -n`), or lower --rate"
        )


def clock_problems(scenario: ScenarioReport) -> Iterator[str]:
    """Yield why the scenario's times cannot be used, if clocks disagreed although no fault set one."""
    is_skewed = scenario.fault is not None and scenario.fault.kind == FaultKind.CLOCK_SKEW
    if scenario.clock_deviation_s > MAX_CLOCK_DEVIATION_S and not is_skewed:
        yield (
            f"{scenario.name}: the result is invalid because a service's clock deviates from the load generator's by "
            f"{scenario.clock_deviation_s:.1f} s or more, the limit is {MAX_CLOCK_DEVIATION_S:g} s; synchronise the "
            "clocks, and let none be set during a run"
        )


def warnings_of(scenario: ScenarioReport) -> Iterator[str]:
    """Yield the limits of the validity of a scenario's numbers."""
    lag = scenario.generator.lag_ms
    if scenario.generator.lagged:
        yield f"{scenario.name}: the load generator lagged by {format_ms(lag.p99)} at p99, a part of every latency"
    if scenario.is_baseline and scenario.settle_s > MAX_SETTLE_S:
        yield (
            f"{scenario.name}: rides were open until {scenario.settle_s:.1f} s after the last response: "
            "the suite was overloaded, and latencies show its queues; lower --rate"
        )
    if dead_lettered := scenario.totals["dead_lettered"]:
        yield f"{scenario.name}: {dead_lettered} ride(s) dead-lettered; `prebook parking list` shows the causes"


def findings_of(scenario: ScenarioReport) -> Iterator[str]:
    """Yield the conclusions from a scenario."""
    if scenario.is_baseline:
        yield from map(ranking_text, rankings(scenario.results))
    yield from overload_findings(scenario)
    yield from answered_findings(scenario.results)
    if retries := scenario.retries:
        accepted_later = retries.accepted_on_any_retry - retries.accepted_on_first_retry
        yield (
            f"of {retries.riders} refused riders who retried after Retry-After, {retries.accepted_on_first_retry} were "
            f"accepted on the first retry and {accepted_later} on a later one"
        )
    if scenario.fault is not None:
        yield from recovery_findings(scenario.results)


def ranking_text(ranking: Ranking) -> str:
    """Return one sentence about a ranking."""
    best = ranking.best
    slowest = list(ranking.medians)[-1]
    if not ranking.losers:
        return f"{ranking.metric}: tie of all measured plans (best median {format_ms(best.p50)})"
    rest = (
        f"; slowest is {slowest} with {format_ms(ranking.medians[slowest].p50)}"
        if slowest not in ranking.winners
        else ""
    )
    if len(ranking.winners) > 1:
        winners = join_words(ranking.winners)
        return f"{ranking.metric}: tie of {winners} (best median {format_ms(best.p50)}){rest}"
    spread = f"{format_ms(best.p50_low)} to {format_ms(best.p50_high)}"
    median = f"median {format_ms(best.p50)}, 83 % interval {spread}"
    return f"{ranking.winners[0]} has the best {ranking.metric} ({median}){rest}"


def answered_findings(results: Sequence[PlanResult]) -> Iterator[str]:
    """Yield which plans answered every offered ride, and the shortfall of the others."""
    complete = [result.label for result in results if not result.ledger.unanswered]
    if complete:
        plans = join_words(complete) if len(complete) < len(results) else "every plan"
        yield f"{plans} answered every offered ride"
    for result in results:
        ledger = result.ledger
        if ledger.unanswered:
            yield f"{result.label} answered {ledger.answered} of {ledger.offered} rides ({shortfall(result)})"


def shortfall(result: PlanResult) -> str:
    """Return the classes of unanswered rides with their counts."""
    ledger = result.ledger
    classes = {
        "refused": ledger.refused,
        "failed": ledger.failed,
        "expired": ledger.expired,
        "dead-lettered": ledger.dead_lettered,
        "still in flight": ledger.in_flight,
    }
    return ", ".join(f"{count} {name}" for name, count in classes.items() if count)


def recovery_findings(results: Sequence[PlanResult]) -> Iterator[str]:
    """Yield the recovery times of all plans that have one, shortest first."""
    recoveries = sorted((result.recovery_s, result.label) for result in results if result.recovery_s is not None)
    if recoveries:
        times = ", ".join(f"{label} {seconds:.1f} s" for seconds, label in recoveries)
        yield f"recovery after the end of the fault: {times}"


def not_measured(scenario: ScenarioReport) -> Iterator[str]:
    """Yield the recoveries that could not be measured."""
    if scenario.fault is None:
        return
    for result in scenario.results:
        if result.recovery_s is None:
            yield f"{scenario.name}: recovery of {result.label} (no answered ride after the last unanswered one)"


def dead_letters_unknown(scenarios: Sequence[ScenarioReport]) -> Iterator[str]:
    """Yield a sentence if operations did not list the parked messages of every scenario."""
    if not all(scenario.dead_letters_known for scenario in scenarios):
        yield "dead-lettered rides (operations does not run in this suite or did not respond); they count as in flight"
