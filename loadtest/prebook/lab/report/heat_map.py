"""Heat map of a scenario: median time to outcome by plan and time of the request, as compact SVG.

A row has one path per level of latency, which draws all of its bins; a page with many faults stays small.
"""

from collections.abc import Iterator, Sequence

from prebook.lab.quantiles import format_ms
from prebook.lab.report.markup import Markup, tag
from prebook.lab.report.model import ScenarioReport

LEVELS_MS = (100.0, 300.0, 1000.0, 3000.0, 10000.0)
"""Upper ends of the levels of latency; a slower ride is in one more level."""
UNANSWERED = len(LEVELS_MS) + 1
"""Level of a bin in which rides were offered and none was answered."""
WIDTH = 1080
LABEL_WIDTH = 118
ROW_HEIGHT = 18
CELL_HEIGHT = 14


def heat_map(scenario: ScenarioReport) -> Markup:
    """Return the heat map of one scenario, with a legend in its caption."""
    time = scenario.timeline
    rows = [
        heat_row(scenario.name, label, position * ROW_HEIGHT, levels(time.outcome_ms[label], time.offered[label]))
        for position, label in enumerate(time.outcome_ms)
    ]
    return tag(
        "figure",
        tag("figcaption", "time to outcome, by time of the request", tag("span", legend())),
        tag(
            "svg",
            tag("title", f"{scenario.name}: median time to outcome over time, by plan"),
            rows,
            viewBox=f"0 0 {WIDTH} {len(rows) * ROW_HEIGHT}",
            role="img",
            class_="chart wide heat",
        ),
        class_="scroll",
    )


def legend() -> str:
    """Return the meaning of the levels, from light to dark."""
    bounds = ", ".join(f"up to {format_ms(bound)}" for bound in LEVELS_MS)
    return f" light to dark: {bounds}, slower; red: none answered"


def levels(outcome_ms: Sequence[float | None], offered: Sequence[int]) -> list[int | None]:
    """Return the level of each bin; None where no ride was offered."""
    return [
        level_of(value) if value is not None else UNANSWERED if count else None
        for value, count in zip(outcome_ms, offered, strict=True)
    ]


def level_of(latency_ms: float) -> int:
    """Return the level of a latency, from 0."""
    return sum(latency_ms > bound for bound in LEVELS_MS)


def heat_row(scenario: str, label: str, top: int, row: Sequence[int | None]) -> Markup:
    """Return the row of one plan, ``top`` pixels from the top."""
    return tag(
        "g",
        tag("text", label, x=0, y=top + CELL_HEIGHT - 3, class_="name"),
        [
            tag("path", d="".join(cells(row, level, top)), class_=f"heat-{level}")
            for level in sorted({level for level in row if level is not None})
        ],
        id=f"{scenario}.timeline.outcome_ms.{label}",
    )


def cells(row: Sequence[int | None], level: int, top: int) -> Iterator[str]:
    """Yield the SVG path of every bin of one level."""
    step = (WIDTH - LABEL_WIDTH) / len(row)
    width = round(max(step - 1, 1))
    for position, own in enumerate(row):
        if own == level:
            yield f"M{LABEL_WIDTH + position * step:.0f} {top}h{width}v{CELL_HEIGHT}h-{width}z"
