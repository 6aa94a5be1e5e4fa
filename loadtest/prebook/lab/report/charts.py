"""Latency and timeline charts of the report, as SVG styled by the page's CSS."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prebook.lab.quantiles import LatencySummary, format_ms
from prebook.lab.report.markup import Markup, tag
from prebook.lab.report.model import PlanResult, ScenarioReport
from prebook.lab.report.ranking import LATENCY_FIELDS, LATENCY_METRICS
from prebook.lab.report.scales import LogScale, TimeScale, log_scale

LATENCY_WIDTH = 340
LATENCY_ROW_HEIGHT = 40
LATENCY_PADDING_TOP = 6
AXIS_HEIGHT = 26
TIMELINE_WIDTH = 1080
TIMELINE_ROW_HEIGHT = 58
TIMELINE_LABEL_WIDTH = 118
TIMELINE_HEADER_HEIGHT = 26


def latency_chart(scenario: ScenarioReport, metric: str, scale: LogScale) -> Markup:
    """Return a chart with one row per plan: dot at the median, band to p90, whisker to p99, on a logarithmic axis."""
    results = scenario.results
    height = LATENCY_PADDING_TOP + LATENCY_ROW_HEIGHT * len(results) + AXIS_HEIGHT
    tops = range(LATENCY_PADDING_TOP, height - AXIS_HEIGHT, LATENCY_ROW_HEIGHT)
    rows = [latency_row(scenario.name, result, metric, top, scale) for result, top in zip(results, tops, strict=True)]
    return tag(
        "svg",
        tag("title", f"{metric} by plan, p50, p90 and p99"),
        decade_grid(scale, height),
        rows,
        viewBox=f"0 0 {LATENCY_WIDTH} {height}",
        role="img",
        class_="chart",
    )


def latency_row(scenario: str, result: PlanResult, metric: str, top: int, scale: LogScale) -> Markup:
    """Return the row of one plan, starting at ``top`` pixels."""
    label = result.label
    latency = LATENCY_METRICS[metric](result)
    number_id = f"{scenario}.{label}.latency_ms.{LATENCY_FIELDS[metric]}"
    middle = top + 27
    text = f"{format_ms(latency.p50)}  /  {format_ms(latency.p99)}" if latency.count else "not measured"
    marks = latency_marks(latency, middle, scale) if latency.count else ""
    return tag(
        "g",
        tag("title", f"{label}, {latency.count} rides: {latency_text(latency)}", id=f"{number_id}.count"),
        tag("text", label, x=0, y=top + 13, class_="name"),
        tag("text", text, x=LATENCY_WIDTH, y=top + 13, class_="value", text_anchor="end", id=number_id),
        tag("line", x1=scale.left, x2=scale.right, y1=middle, y2=middle, class_="track"),
        marks,
        class_=f"plan {label}",
    )


def latency_text(latency: LatencySummary) -> str:
    """Return the three quantiles as text."""
    return f"p50 {format_ms(latency.p50)}, p90 {format_ms(latency.p90)}, p99 {format_ms(latency.p99)}"


def latency_marks(latency: LatencySummary, y: int, scale: LogScale) -> list[Markup]:
    """Return whisker, band and dot at height ``y``."""
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
    """Yield a grid line and a label for each power of ten."""
    last = len(scale.decades) - 1
    for i, decade in enumerate(scale.decades):
        x = scale.position(decade)
        anchor = {0: "start", last: "end"}.get(i, "middle")
        yield tag("line", x1=x, x2=x, y1=LATENCY_PADDING_TOP + 18, y2=height - AXIS_HEIGHT + 4, class_="grid")
        yield tag("text", decade_name(decade), x=x, y=height - 6, class_="tick", text_anchor=anchor)


def decade_name(milliseconds: float) -> str:
    """Return the label of a power of ten."""
    return f"{milliseconds:g} ms" if milliseconds < 1000 else f"{milliseconds / 1000:g} s"  # noqa: PLR2004  unit


def shared_scale(scenarios: Sequence[ScenarioReport]) -> LogScale:
    """Return one axis for all latency charts of a report, so that they are comparable by eye."""
    latencies = [
        latency_of(result)
        for scenario in scenarios
        for result in scenario.results
        for latency_of in LATENCY_METRICS.values()
    ]
    values = (value for latency in latencies for value in (latency.p50, latency.p99))
    return log_scale(values, 4.0, LATENCY_WIDTH - 4.0)


def timeline_chart(scenario: ScenarioReport) -> Markup:
    """Return a chart with a row per plan: bars are answered rides, the line offered rides, the shade the fault."""
    time = scenario.timeline
    labels = [result.label for result in scenario.results]
    bin_count = len(next(iter(time.answered.values())))
    scale = TimeScale(bin_count * time.bin_s, TIMELINE_LABEL_WIDTH, TIMELINE_WIDTH - 8)
    bottom = TIMELINE_HEADER_HEIGHT + TIMELINE_ROW_HEIGHT * len(labels)
    max_count = max(max(*time.answered[label], *time.offered[label], 1) for label in labels)
    return tag(
        "svg",
        tag("title", f"{scenario.name}: rides offered and answered over time, by plan"),
        fault_shade(scenario, scale, bottom),
        [
            timeline_row(scenario, label, TIMELINE_HEADER_HEIGHT + TIMELINE_ROW_HEIGHT * i, max_count, scale)
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
    """Yield the shaded window of the fault and its label; nothing without a fault."""
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
    """Return the row of one plan; ``max_count`` rides fill its height."""
    time = scenario.timeline
    row = TimelineRow(top + TIMELINE_ROW_HEIGHT - 8, (TIMELINE_ROW_HEIGHT - 16) / max_count, time.bin_s, scale)
    answered = time.answered[label]
    offered = time.offered[label]
    number_id = f"{scenario.name}.timeline.{label}"
    return tag(
        "g",
        tag("title", f"{label}: {sum(answered)} of {sum(offered)} rides answered", id=f"{number_id}.title"),
        tag("text", label, x=0, y=row.base - 12, class_="name"),
        tag("text", f"{sum(answered)} of {sum(offered)}", x=0, y=row.base + 2, class_="tick", id=number_id),
        tag("line", x1=scale.left, x2=scale.right, y1=row.base, y2=row.base, class_="track"),
        [row.bar(position, count) for position, count in enumerate(answered) if count],
        tag("path", d=row.offered_path(offered), class_="offered"),
        class_=f"plan {label}",
    )


@dataclass(frozen=True)
class TimelineRow:
    """Geometry of one plan's row: counts rise from ``base``, ``unit_height`` pixels per ride."""

    base: int
    unit_height: float
    bin_s: float
    scale: TimeScale

    def bar(self, position: int, count: int) -> Markup:
        """Return the bar of the bin at index ``position``."""
        x = self.scale.position(position * self.bin_s)
        end = self.scale.position((position + 1) * self.bin_s)
        height = count * self.unit_height
        return tag("rect", x=x + 0.5, y=self.base - height, width=max(end - x - 1, 0.5), height=height, class_="bar")

    def offered_path(self, counts: Sequence[int]) -> str:
        """Return the SVG path of a step line through the counts of all bins."""
        ends = (self.scale.position((position + 1) * self.bin_s) for position in range(len(counts)))
        points = (
            f"V{self.base - count * self.unit_height:.1f}H{end:.1f}" for count, end in zip(counts, ends, strict=True)
        )
        return f"M{self.scale.left:.1f} {self.base}{''.join(points)}V{self.base}"
