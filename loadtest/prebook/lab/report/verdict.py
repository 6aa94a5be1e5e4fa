"""Plain words from the report's numbers and from nothing else: no plan is praised or blamed by name beforehand."""

from collections.abc import Iterator, Sequence

import msgspec

from prebook.lab.ledger.discrepancies import DOUBLED, LOST
from prebook.lab.report.matrix import Cell, Row, by_plan
from prebook.lab.report.model import Finding, Report, Result, ScenarioReport, TradeOff, Verdict
from prebook.lab.report.ranking import Contest, contests, listed, ms


def over_all(matrix: Sequence[Row]) -> Iterator[str]:
    """One sentence for each plan of the failure matrix."""
    for label, cells in by_plan(matrix).items():
        short = [(row.scenario, cell) for row, cell in cells if not cell.whole]
        offered = sum(cell.offered for _, cell in cells)
        missed = sum(cell.offered - cell.answered for _, cell in short)
        what = (
            f"left {missed} of {offered} rides unanswered, under {listed([name for name, _ in short])}"
            if short
            else f"answered all {offered} rides, whatever was broken"
        )
        yield f"{label} {what}{slowest_return(cells)}"


def slowest_return(cells: Sequence[tuple[Row, Cell]]) -> str:
    back = [(cell.recovery_s, row.scenario) for row, cell in cells if cell.recovery_s is not None]
    if not back:
        return ""
    seconds, scenario = max(back)
    return f"; it was back {seconds:.1f} s after the end of a fault at the latest ({scenario})"


def trade_offs(scenarios: Sequence[ScenarioReport]) -> tuple[TradeOff, ...]:
    labels = [result.label for result in scenarios[0].results] if scenarios else []
    return tuple(
        TradeOff(label=label, wins=tuple(wins(label, scenarios)), costs=tuple(costs(label, scenarios)))
        for label in labels
    )


def wins(label: str, scenarios: Sequence[ScenarioReport]) -> Iterator[str]:
    for scenario in calm(scenarios):
        for of in contests(scenario.results):
            if label in of.winners and of.losers:
                place = "best" if len(of.winners) == 1 else "tied for the best"
                yield f"{place} {of.metric} in {scenario.name}: {ms(of.medians[label].p50)}"
    whole = [each.name for each in scenarios if others_fell_short(each) and not missing(label, each)]
    if whole:
        yield f"answered every ride in {listed(whole)}, where others did not"


def costs(label: str, scenarios: Sequence[ScenarioReport]) -> Iterator[str]:
    for scenario in calm(scenarios):
        for of in contests(scenario.results):
            if label in of.losers:
                factor = of.medians[label].p50 / max(of.best.p50, 0.001)
                yield f"{factor:.1f} times the best {of.metric} in {scenario.name} ({ms(of.medians[label].p50)})"
    for scenario in scenarios:
        if count := missing(label, scenario):
            yield f"{count} of {result_of(label, scenario).ledger.offered} rides unanswered in {scenario.name}"


def calm(scenarios: Sequence[ScenarioReport]) -> Iterator[ScenarioReport]:
    return (scenario for scenario in scenarios if scenario.calm)


def others_fell_short(scenario: ScenarioReport) -> bool:
    return any(result.ledger.unanswered for result in scenario.results)


def missing(label: str, scenario: ScenarioReport) -> int:
    return result_of(label, scenario).ledger.unanswered


def result_of(label: str, scenario: ScenarioReport) -> Result:
    return next(result for result in scenario.results if result.label == label)


NAMED = 5
"""Discrepancies that a problem names one by one; the report lists all."""

OVER_ALL = "all faults"
"""What stands in the place of a scenario's name where a finding is about the failure matrix."""

KEPT_UP_S = 2.0
"""A suite without a fault that is at rest within this time after its last answer has kept up."""


def judged(report: Report) -> Report:
    return msgspec.structs.replace(report, verdict=verdict(report.scenarios, report.matrix))


def verdict(scenarios: Sequence[ScenarioReport], matrix: Sequence[Row] = ()) -> Verdict:
    problems = tuple(line for scenario in scenarios for line in problems_of(scenario))
    return Verdict(
        ok=not problems,
        headline=headline(scenarios, problems),
        problems=problems,
        warnings=tuple(line for scenario in scenarios for line in warnings_of(scenario)),
        findings=(
            *(Finding(scenario=scenario.name, text=text) for scenario in scenarios for text in findings_of(scenario)),
            *(Finding(scenario=OVER_ALL, text=text) for text in over_all(matrix)),
        ),
        trade_offs=trade_offs(scenarios),
        not_measured=(
            *(line for scenario in scenarios for line in not_measured(scenario)),
            *(f"{row.scenario}: {row.why_not}" for row in matrix if row.why_not),
            *parked_unknown(scenarios),
        ),
    )


def headline(scenarios: Sequence[ScenarioReport], problems: Sequence[str]) -> str:
    offered = sum(scenario.totals["offered"] for scenario in scenarios)
    if problems:
        return f"The accounts of {offered:,} rides do not balance: {len(problems)} problem(s)."
    answered = sum(scenario.totals["confirmed"] + scenario.totals["rejected"] for scenario in scenarios)
    return f"{offered:,} rides offered, {answered:,} answered, none lost, nothing doubled, every ledger closes."


def problems_of(scenario: ScenarioReport) -> Iterator[str]:
    name = scenario.name
    lost = [item for item in scenario.discrepancies if item.kind in LOST]
    doubled = [item for item in scenario.discrepancies if item.kind in DOUBLED]
    other = [item for item in scenario.discrepancies if item.kind not in LOST | DOUBLED]
    for what, found in (("lost", lost), ("doubled", doubled), ("contradictory", other)):
        if found:
            some = "; ".join(f"{item.booking_id or item.key}: {item.detail}" for item in found[:NAMED])
            more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
            yield f"{name}: {len(found)} {what} ({some}{more})"
    if not scenario.totals["offered"]:
        yield f"{name}: no ride was offered; give a higher --rate or a longer --duration"
    for result in scenario.results:
        if not result.ledger.closes:
            yield f"{name}: the ledger of {result.label} is open, {result.ledger.in_flight} ride(s) still in flight"
    lag = scenario.generator
    if lag.refused and scenario.fault is None:
        yield (
            f"{name}: the result is refused, for the generator itself was late: p99 {ms(lag.lag_ms.p99)}, and no more "
            f"than {ms(lag.most_ms)} is allowed; give a lower --rate, or run it where the processors are free"
        )
    if scenario.fault_window and not scenario.fault_window.took_effect:
        yield f"{name}: the fault did not take effect ({scenario.fault_window.evidence})"


def warnings_of(scenario: ScenarioReport) -> Iterator[str]:
    lag = scenario.generator.lag_ms
    if scenario.generator.lagged:
        yield f"{scenario.name}: the generator lagged, p99 {ms(lag.p99)}; its own delay is part of every latency"
    if scenario.calm and scenario.settle_s > KEPT_UP_S:
        yield (
            f"{scenario.name}: rides were still open {scenario.settle_s:.1f} s after the last answer to a request: "
            "the suite did not keep up, and latencies show its queues; give a lower --rate"
        )
    if scenario.calm and not scenario.outcome_hashes_equal:
        yield f"{scenario.name}: the plans did not come to the same outcomes, so their latencies are of unlike rides"
    if parked := scenario.totals["parked"]:
        yield f"{scenario.name}: {parked} ride(s) are parked; `prebook parking list` shows why"


def findings_of(scenario: ScenarioReport) -> Iterator[str]:
    if scenario.calm:
        yield from map(race, contests(scenario.results))
    yield from answers(scenario.results)
    if back := scenario.returns:
        yield (
            f"of {back.riders} riders who were refused and came back when told, {back.at_once} got in at once "
            f"and {back.at_last - back.at_once} later"
        )
    if scenario.fault is not None:
        yield from recoveries(scenario.results)


def race(of: Contest) -> str:
    best, slowest = of.best, list(of.medians)[-1]
    if not of.losers:
        return f"{of.metric} is a tie of all plans measured (best median {ms(best.p50)}, within the spread)"
    rest = f"; slowest is {slowest} with {ms(of.medians[slowest].p50)}" if slowest not in of.winners else ""
    if len(of.winners) > 1:
        return f"{of.metric} is a tie of {listed(of.winners)} (best median {ms(best.p50)}, within the spread){rest}"
    spread = f"{ms(best.p50_low)} to {ms(best.p50_high)}"
    return f"{of.winners[0]} has the best {of.metric}: median {ms(best.p50)} (interval {spread}){rest}"


def answers(results: Sequence[Result]) -> Iterator[str]:
    """Who answered every ride offered, and who did not."""
    whole = [result.label for result in results if not result.ledger.unanswered]
    if whole:
        yield (
            f"{listed(whole)} answered every ride offered"
            if len(whole) < len(results)
            else ("every plan answered every ride offered")
        )
    for result in results:
        ledger = result.ledger
        if ledger.unanswered:
            yield f"{result.label} answered {ledger.answered} of {ledger.offered} rides ({shortfall(result)})"


def shortfall(result: Result) -> str:
    ledger = result.ledger
    classes = {
        "refused": ledger.refused,
        "failed": ledger.failed,
        "expired": ledger.expired,
        "parked": ledger.parked,
        "still in flight": ledger.in_flight,
    }
    return ", ".join(f"{count} {name}" for name, count in classes.items() if count)


def recoveries(results: Sequence[Result]) -> Iterator[str]:
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


def parked_unknown(scenarios: Sequence[ScenarioReport]) -> Iterator[str]:
    if not all(scenario.parked_known for scenario in scenarios):
        yield "which rides have a parked message (operations does not run here, or did not answer): they are in flight"
