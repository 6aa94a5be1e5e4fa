"""The report's two kinds of chart, as SVG that takes its colours from the page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prebook.lab.quantiles import LatencySummary, format_ms
from prebook.lab.report.markup import Markup, tag
from prebook.lab.report.model import PlanResult, ScenarioReport
from prebook.lab.report.ranking import LATENCY_METRICS
from prebook.lab.report.scales import LogScale, TimeScale, log_scale

LATENCY_WIDTH = 340
LATENCY_ROW_HEIGHT = 40
LATENCY_PADDING_TOP = 6
AXIS_HEIGHT = 26
TIMELINE_WIDTH = 1080
TIMELINE_ROW_HEIGHT = 58
TIMELINE_LABEL_WIDTH = 118
TIMELINE_HEADER_HEIGHT = 26


def latency_chart(metric: str, results: Sequence[PlanResult], scale: LogScale) -> Markup:
    """A row for each plan: dot at the median, band to p90, whisker to p99, on a logarithmic axis."""
    height = LATENCY_PADDING_TOP + LATENCY_ROW_HEIGHT * len(results) + AXIS_HEIGHT
    tops = range(LATENCY_PADDING_TOP, height - AXIS_HEIGHT, LATENCY_ROW_HEIGHT)
    rows = [latency_row(result, metric, top, scale) for result, top in zip(results, tops, strict=True)]
    return tag(
        "svg",
        tag("title", f"{metric} by plan, p50, p90 and p99"),
        decade_grid(scale, height),
        rows,
        viewBox=f"0 0 {LATENCY_WIDTH} {height}",
        role="img",
        class_="chart",
    )


def latency_row(result: PlanResult, metric: str, top: int, scale: LogScale) -> Markup:
    label = result.label
    latency = LATENCY_METRICS[metric](result)
    middle = top + 27
    text = f"{format_ms(latency.p50)}  /  {format_ms(latency.p99)}" if latency.count else "nothing measured"
    marks = latency_marks(latency, middle, scale) if latency.count else ""
    return tag(
        "g",
        tag("title", f"{label}, {latency.count} rides: {latency_text(latency)}"),
        tag("text", label, x=0, y=top + 13, class_="name"),
        tag("text", text, x=LATENCY_WIDTH, y=top + 13, class_="value", text_anchor="end"),
        tag("line", x1=scale.left, x2=scale.right, y1=middle, y2=middle, class_="track"),
        marks,
        class_=f"plan {label}",
    )


def latency_text(latency: LatencySummary) -> str:
    return f"p50 {format_ms(latency.p50)}, p90 {format_ms(latency.p90)}, p99 {format_ms(latency.p99)}"


def latency_marks(latency: LatencySummary, y: int, scale: LogScale) -> list[Markup]:
    p50 = scale.position(latency.p50)
    p90 = scale.position(latency.p90)
    p99 = scale.position(latency.p99)
    return [
        tag("line", x1=p50, x2=p99, y1=y, y2=y, class_="whisker"),
        tag("line", x1=p99, x2=p99, y1=y - 5, y2=y + 5, class_="whisker"),
        tag("rect", x=p50, y=y - 4, width=max(p90 - p50, 1.0), height=8, rx=2, class_="band"),
        tag("circle", cx=p50, cy=y, r=5.5, class_="dot"),
    ]


def decade_grid(scale: LogScale, height: int) -> Iterator[Markup]:
    last = len(scale.decades) - 1
    for i, decade in enumerate(scale.decades):
        x = scale.position(decade)
        anchor = {0: "start", last: "end"}.get(i, "middle")
        yield tag("line", x1=x, x2=x, y1=LATENCY_PADDING_TOP + 18, y2=height - AXIS_HEIGHT + 4, class_="grid")
        yield tag("text", decade_name(decade), x=x, y=height - 6, class_="tick", text_anchor=anchor)


def decade_name(milliseconds: float) -> str:
    return f"{milliseconds:g} ms" if milliseconds < 1000 else f"{milliseconds / 1000:g} s"  # noqa: PLR2004  unit


def shared_scale(scenarios: Sequence[ScenarioReport]) -> LogScale:
    """One axis for all latency charts of a report, so that any two may be compared by eye."""
    found = [of(result) for scenario in scenarios for result in scenario.results for of in LATENCY_METRICS.values()]
    return log_scale((value for each in found for value in (each.p50, each.p99)), 4.0, LATENCY_WIDTH - 4.0)


def timeline_chart(scenario: ScenarioReport) -> Markup:
    """A lane for each plan: bars are rides answered, the line is rides offered, the shade is the fault."""
    time = scenario.timeline
    labels = [result.label for result in scenario.results]
    bins = len(next(iter(time.answered.values())))
    scale = TimeScale(bins * time.bin_s, TIMELINE_LABEL_WIDTH, TIMELINE_WIDTH - 8)
    bottom = TIMELINE_HEADER_HEIGHT + TIMELINE_ROW_HEIGHT * len(labels)
    most = max(max(*time.answered[label], *time.offered[label], 1) for label in labels)
    return tag(
        "svg",
        tag("title", f"{scenario.name}: rides offered and answered over time, by plan"),
        fault_shade(scenario, scale, bottom),
        [
            timeline_row(scenario, label, TIMELINE_HEADER_HEIGHT + TIMELINE_ROW_HEIGHT * i, most, scale)
            for i, label in enumerate(labels)
        ],
        [
            tag("text", f"{s} s", x=scale.position(s), y=bottom + 18, class_="tick", text_anchor="middle")
            for s in scale.ticks
        ],
        viewBox=f"0 0 {TIMELINE_WIDTH} {bottom + AXIS_HEIGHT}",
        role="img",
        class_="chart wide",
    )


def fault_shade(scenario: ScenarioReport, scale: TimeScale, bottom: int) -> Iterator[Markup]:
    if scenario.fault_window is None or scenario.fault is None:
        return
    start = scenario.timeline.started_at
    left = scale.position((scenario.fault_window.started_at - start).total_seconds())
    right = scale.position((scenario.fault_window.ended_at - start).total_seconds())
    yield tag(
        "rect",
        x=left,
        y=TIMELINE_HEADER_HEIGHT - 6,
        width=max(right - left, 1.0),
        height=bottom - TIMELINE_HEADER_HEIGHT + 6,
        class_="fault",
    )
    text = f"{scenario.fault.target}: {scenario.fault.kind}"
    yield tag("text", text, x=left, y=TIMELINE_HEADER_HEIGHT - 11, class_="fault-name")


def timeline_row(scenario: ScenarioReport, label: str, top: int, max_count: int, scale: TimeScale) -> Markup:
    time = scenario.timeline
    spot = TimelineRow(top + TIMELINE_ROW_HEIGHT - 8, (TIMELINE_ROW_HEIGHT - 16) / max_count, time.bin_s, scale)
    done = time.answered[label]
    offered = time.offered[label]
    return tag(
        "g",
        tag("title", f"{label}: {sum(done)} of {sum(offered)} rides answered"),
        tag("text", label, x=0, y=spot.base - 12, class_="name"),
        tag("text", f"{sum(done)} of {sum(offered)}", x=0, y=spot.base + 2, class_="tick"),
        tag("line", x1=scale.left, x2=scale.right, y1=spot.base, y2=spot.base, class_="track"),
        [spot.bar(position, count) for position, count in enumerate(done) if count],
        tag("path", d=spot.offered_path(offered), class_="offered"),
        class_=f"plan {label}",
    )


@dataclass(frozen=True)
class TimelineRow:
    """Where the counts of one plan are drawn: up from ``base``, ``unit`` for each ride."""

    base: int
    unit_height: float
    bin_s: float
    scale: TimeScale

    def bar(self, position: int, count: int) -> Markup:
        x = self.scale.position(position * self.bin_s)
        end = self.scale.position((position + 1) * self.bin_s)
        height = count * self.unit_height
        return tag("rect", x=x + 0.5, y=self.base - height, width=max(end - x - 1, 0.5), height=height, class_="bar")

    def offered_path(self, counts: Sequence[int]) -> str:
        ends = (self.scale.position((position + 1) * self.bin_s) for position in range(len(counts)))
        points = (
            f"V{self.base - count * self.unit_height:.1f}H{end:.1f}" for count, end in zip(counts, ends, strict=True)
        )
        return f"M{self.scale.left:.1f} {self.base}{''.join(points)}V{self.base}"
