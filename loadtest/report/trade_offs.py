"""Where each plan won, what it cost, and what it made of all faults together. Pure, over the report's numbers."""

from collections.abc import Iterator, Sequence

from loadtest.report.contest import contests, listed, ms
from loadtest.report.findings import TradeOff
from loadtest.report.matrix import Cell, Row, by_plan
from loadtest.report.model import Result, ScenarioReport


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
