"""Plain words from the report's numbers and from nothing else: no plan is praised or blamed by name beforehand."""

from collections.abc import Iterator, Sequence

import msgspec

from prebook.lab.ledger.discrepancies import DUPLICATED_KINDS, LOST_KINDS
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
from prebook.lab.report.ranking import Ranking, join_words, rankings


def matrix_findings(matrix: Sequence[MatrixRow]) -> Iterator[str]:
    """One sentence for each plan of the failure matrix."""
    for label, cells in cells_by_plan(matrix).items():
        short = [(row.scenario, cell) for row, cell in cells if not cell.all_answered]
        offered = sum(cell.offered for _, cell in cells)
        missed = sum(cell.offered - cell.answered for _, cell in short)
        what = (
            f"left {missed} of {offered} rides unanswered, under {join_words([name for name, _ in short])}"
            if short
            else f"answered all {offered} rides, whatever was broken"
        )
        yield f"{label} {what}{slowest_recovery(cells)}"


def slowest_recovery(cells: Sequence[tuple[MatrixRow, MatrixCell]]) -> str:
    back = [(cell.recovery_s, row.scenario) for row, cell in cells if cell.recovery_s is not None]
    if not back:
        return ""
    seconds, scenario = max(back)
    return f"; it was back {seconds:.1f} s after the end of a fault at the latest ({scenario})"


def trade_offs(scenarios: Sequence[ScenarioReport]) -> tuple[PlanTradeOff, ...]:
    labels = [result.label for result in scenarios[0].results] if scenarios else []
    return tuple(
        PlanTradeOff(label=label, wins=tuple(wins(label, scenarios)), costs=tuple(costs(label, scenarios)))
        for label in labels
    )


def wins(label: str, scenarios: Sequence[ScenarioReport]) -> Iterator[str]:
    for scenario in baseline_scenarios(scenarios):
        for of in rankings(scenario.results):
            if label in of.winners and of.losers:
                place = "best" if len(of.winners) == 1 else "tied for the best"
                yield f"{place} {of.metric} in {scenario.name}: {format_ms(of.medians[label].p50)}"
    whole = [each.name for each in scenarios if has_unanswered(each) and not unanswered_count(label, each)]
    if whole:
        yield f"answered every ride in {join_words(whole)}, where others did not"


def costs(label: str, scenarios: Sequence[ScenarioReport]) -> Iterator[str]:
    for scenario in baseline_scenarios(scenarios):
        for of in rankings(scenario.results):
            if label in of.losers:
                factor = of.medians[label].p50 / max(of.best.p50, 0.001)
                yield f"{factor:.1f} times the best {of.metric} in {scenario.name} ({format_ms(of.medians[label].p50)})"
    for scenario in scenarios:
        if count := unanswered_count(label, scenario):
            yield f"{count} of {result_of(label, scenario).ledger.offered} rides unanswered in {scenario.name}"


def baseline_scenarios(scenarios: Sequence[ScenarioReport]) -> Iterator[ScenarioReport]:
    return (scenario for scenario in scenarios if scenario.is_baseline)


def has_unanswered(scenario: ScenarioReport) -> bool:
    return any(result.ledger.unanswered for result in scenario.results)


def unanswered_count(label: str, scenario: ScenarioReport) -> int:
    return result_of(label, scenario).ledger.unanswered


def result_of(label: str, scenario: ScenarioReport) -> PlanResult:
    return next(result for result in scenario.results if result.label == label)


MAX_NAMED_DISCREPANCIES = 5
"""Discrepancies that a problem names one by one; the report lists all."""

ALL_FAULTS = "all faults"
"""What stands in the place of a scenario's name where a finding is about the failure matrix."""

MAX_SETTLE_S = 2.0
"""A suite without a fault that is at rest within this time after its last answer has kept up."""


def with_verdict(report: CampaignReport) -> CampaignReport:
    return msgspec.structs.replace(report, verdict=verdict(report.scenarios, report.matrix))


def verdict(scenarios: Sequence[ScenarioReport], matrix: Sequence[MatrixRow] = ()) -> CampaignVerdict:
    problems = tuple(line for scenario in scenarios for line in problems_of(scenario))
    return CampaignVerdict(
        ok=not problems,
        headline=headline(scenarios, problems),
        problems=problems,
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
            *dead_letters_unknown(scenarios),
        ),
    )


def headline(scenarios: Sequence[ScenarioReport], problems: Sequence[str]) -> str:
    offered = sum(scenario.totals["offered"] for scenario in scenarios)
    if problems:
        return f"The ledger of {offered:,} rides does not close: {len(problems)} problem(s)."
    answered = sum(scenario.totals["confirmed"] + scenario.totals["rejected"] for scenario in scenarios)
    return f"{offered:,} rides offered, {answered:,} answered, none lost, none duplicated, every ledger closes."


def problems_of(scenario: ScenarioReport) -> Iterator[str]:
    name = scenario.name
    lost = [item for item in scenario.discrepancies if item.kind in LOST_KINDS]
    duplicated = [item for item in scenario.discrepancies if item.kind in DUPLICATED_KINDS]
    other = [item for item in scenario.discrepancies if item.kind not in LOST_KINDS | DUPLICATED_KINDS]
    for what, found in (("lost", lost), ("duplicated", duplicated), ("contradictory", other)):
        if found:
            some = "; ".join(
                f"{item.booking_id or item.key}: {item.detail}" for item in found[:MAX_NAMED_DISCREPANCIES]
            )
            more = f"; and {len(found) - MAX_NAMED_DISCREPANCIES} more" if len(found) > MAX_NAMED_DISCREPANCIES else ""
            yield f"{name}: {len(found)} {what} ({some}{more})"
    if not scenario.totals["offered"]:
        yield f"{name}: no ride was offered; give a higher --rate or a longer --duration"
    for result in scenario.results:
        if not result.ledger.closes:
            yield f"{name}: the ledger of {result.label} is open, {result.ledger.in_flight} ride(s) still in flight"
    lag = scenario.generator
    if lag.invalid and scenario.fault is None:
        yield (
            f"{name}: the result is invalid, for the generator itself was late: p99 {format_ms(lag.lag_ms.p99)}, "
            f"and no more than {format_ms(lag.max_lag_ms)} is allowed; "
            "give a lower --rate, or run it where the processors are free"
        )
    if scenario.fault_window and not scenario.fault_window.took_effect:
        yield f"{name}: the fault did not take effect ({scenario.fault_window.evidence})"


def warnings_of(scenario: ScenarioReport) -> Iterator[str]:
    lag = scenario.generator.lag_ms
    if scenario.generator.lagged:
        yield f"{scenario.name}: the generator lagged, p99 {format_ms(lag.p99)}; its own delay is part of every latency"
    if scenario.is_baseline and scenario.settle_s > MAX_SETTLE_S:
        yield (
            f"{scenario.name}: rides were still open {scenario.settle_s:.1f} s after the last answer to a request: "
            "the suite did not keep up, and latencies show its queues; give a lower --rate"
        )
    if scenario.is_baseline and not scenario.outcome_hashes_equal:
        yield f"{scenario.name}: the plans did not come to the same outcomes, so their latencies are of unlike rides"
    if parked := scenario.totals["dead_lettered"]:
        yield f"{scenario.name}: {parked} ride(s) have a parked message; `prebook parking list` shows why"


def findings_of(scenario: ScenarioReport) -> Iterator[str]:
    if scenario.is_baseline:
        yield from map(ranking_text, rankings(scenario.results))
    yield from answered_findings(scenario.results)
    if back := scenario.retries:
        yield (
            f"of {back.riders} riders who were refused and came back when told, {back.accepted_on_first_retry} got in "
            f"at once and {back.accepted_on_any_retry - back.accepted_on_first_retry} later"
        )
    if scenario.fault is not None:
        yield from recovery_findings(scenario.results)


def ranking_text(ranking: Ranking) -> str:
    best = ranking.best
    slowest = list(ranking.medians)[-1]
    if not ranking.losers:
        return f"{ranking.metric} is a tie of all plans measured (best median {format_ms(best.p50)}, within the spread)"
    rest = (
        f"; slowest is {slowest} with {format_ms(ranking.medians[slowest].p50)}"
        if slowest not in ranking.winners
        else ""
    )
    if len(ranking.winners) > 1:
        winners = join_words(ranking.winners)
        return f"{ranking.metric} is a tie of {winners} (best median {format_ms(best.p50)}, within the spread){rest}"
    spread = f"{format_ms(best.p50_low)} to {format_ms(best.p50_high)}"
    return f"{ranking.winners[0]} has the best {ranking.metric}: median {format_ms(best.p50)} (interval {spread}){rest}"


def answered_findings(results: Sequence[PlanResult]) -> Iterator[str]:
    """Who answered every ride offered, and who did not."""
    whole = [result.label for result in results if not result.ledger.unanswered]
    if whole:
        yield (
            f"{join_words(whole)} answered every ride offered"
            if len(whole) < len(results)
            else ("every plan answered every ride offered")
        )
    for result in results:
        ledger = result.ledger
        if ledger.unanswered:
            yield f"{result.label} answered {ledger.answered} of {ledger.offered} rides ({shortfall(result)})"


def shortfall(result: PlanResult) -> str:
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
    back = sorted((result.recovery_s, result.label) for result in results if result.recovery_s is not None)
    if back:
        times = ", ".join(f"{label} {seconds:.1f} s" for seconds, label in back)
        yield f"back to normal after the end of the fault: {times}"


def not_measured(scenario: ScenarioReport) -> Iterator[str]:
    if scenario.fault is None:
        return
    for result in scenario.results:
        if result.recovery_s is None:
            yield f"{scenario.name}: recovery of {result.label} (no ride was seen that was answered as before)"


def dead_letters_unknown(scenarios: Sequence[ScenarioReport]) -> Iterator[str]:
    if not all(scenario.dead_letters_known for scenario in scenarios):
        yield "which rides have a parked message (operations does not run here, or did not answer): they are in flight"
