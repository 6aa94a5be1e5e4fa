"""The report's two kinds of chart, as SVG that takes its colours from the page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prebook.lab.quantiles import Latency
from prebook.lab.report.markup import Markup, tag
from prebook.lab.report.model import Result, ScenarioReport
from prebook.lab.report.ranking import METRICS, ms
from prebook.lab.report.scales import LogScale, TimeScale, log_scale

WIDTH, ROW, TOP, FOOT = 340, 40, 6, 26
WIDE, LANE, GUTTER, HEAD = 1080, 58, 118, 26


def latency_chart(metric: str, results: Sequence[Result], scale: LogScale) -> Markup:
    """A row for each plan: dot at the median, band to p90, whisker to p99, on a logarithmic axis."""
    height = TOP + ROW * len(results) + FOOT
    tops = range(TOP, height - FOOT, ROW)
    rows = [latency_row(result, metric, top, scale) for result, top in zip(results, tops, strict=True)]
    return tag(
        "svg",
        tag("title", f"{metric} by plan, p50, p90 and p99"),
        decades(scale, height),
        rows,
        viewBox=f"0 0 {WIDTH} {height}",
        role="img",
        class_="chart",
    )


def latency_row(result: Result, metric: str, top: int, scale: LogScale) -> Markup:
    label, latency, middle = result.label, METRICS[metric](result), top + 27
    text = f"{ms(latency.p50)}  /  {ms(latency.p99)}" if latency.count else "nothing measured"
    marks = latency_marks(latency, middle, scale) if latency.count else ""
    return tag(
        "g",
        tag("title", f"{label}, {latency.count} rides: {described(latency)}"),
        tag("text", label, x=0, y=top + 13, class_="name"),
        tag("text", text, x=WIDTH, y=top + 13, class_="value", text_anchor="end"),
        tag("line", x1=scale.left, x2=scale.right, y1=middle, y2=middle, class_="track"),
        marks,
        class_=f"plan {label}",
    )


def described(latency: Latency) -> str:
    return f"p50 {ms(latency.p50)}, p90 {ms(latency.p90)}, p99 {ms(latency.p99)}"


def latency_marks(latency: Latency, y: int, scale: LogScale) -> list[Markup]:
    p50, p90, p99 = scale.at(latency.p50), scale.at(latency.p90), scale.at(latency.p99)
    return [
        tag("line", x1=p50, x2=p99, y1=y, y2=y, class_="whisker"),
        tag("line", x1=p99, x2=p99, y1=y - 5, y2=y + 5, class_="whisker"),
        tag("rect", x=p50, y=y - 4, width=max(p90 - p50, 1.0), height=8, rx=2, class_="band"),
        tag("circle", cx=p50, cy=y, r=5.5, class_="dot"),
    ]


def decades(scale: LogScale, height: int) -> Iterator[Markup]:
    last = len(scale.decades) - 1
    for i, decade in enumerate(scale.decades):
        x, anchor = scale.at(decade), {0: "start", last: "end"}.get(i, "middle")
        yield tag("line", x1=x, x2=x, y1=TOP + 18, y2=height - FOOT + 4, class_="grid")
        yield tag("text", decade_name(decade), x=x, y=height - 6, class_="tick", text_anchor=anchor)


def decade_name(milliseconds: float) -> str:
    return f"{milliseconds:g} ms" if milliseconds < 1000 else f"{milliseconds / 1000:g} s"  # noqa: PLR2004  unit


def shared_scale(scenarios: Sequence[ScenarioReport]) -> LogScale:
    """One axis for all latency charts of a report, so that any two may be compared by eye."""
    found = [of(result) for scenario in scenarios for result in scenario.results for of in METRICS.values()]
    return log_scale((value for each in found for value in (each.p50, each.p99)), 4.0, WIDTH - 4.0)


def timeline_chart(scenario: ScenarioReport) -> Markup:
    """A lane for each plan: bars are rides answered, the line is rides offered, the shade is the fault."""
    time = scenario.timeline
    labels = [result.label for result in scenario.results]
    bins = len(next(iter(time.completed.values())))
    scale = TimeScale(bins * time.bin_s, GUTTER, WIDE - 8)
    bottom = HEAD + LANE * len(labels)
    most = max(max(*time.completed[label], *time.offered[label], 1) for label in labels)
    return tag(
        "svg",
        tag("title", f"{scenario.name}: rides offered and answered over time, by plan"),
        shade(scenario, scale, bottom),
        [lane(scenario, label, HEAD + LANE * i, most, scale) for i, label in enumerate(labels)],
        [tag("text", f"{s} s", x=scale.at(s), y=bottom + 18, class_="tick", text_anchor="middle") for s in scale.ticks],
        viewBox=f"0 0 {WIDE} {bottom + FOOT}",
        role="img",
        class_="chart wide",
    )


def shade(scenario: ScenarioReport, scale: TimeScale, bottom: int) -> Iterator[Markup]:
    if scenario.fault_window is None or scenario.fault is None:
        return
    start = scenario.timeline.start
    left = scale.at((scenario.fault_window.started_at - start).total_seconds())
    right = scale.at((scenario.fault_window.ended_at - start).total_seconds())
    yield tag("rect", x=left, y=HEAD - 6, width=max(right - left, 1.0), height=bottom - HEAD + 6, class_="fault")
    text = f"{scenario.fault.target}: {scenario.fault.kind}"
    yield tag("text", text, x=left, y=HEAD - 11, class_="fault-name")


def lane(scenario: ScenarioReport, label: str, top: int, most: int, scale: TimeScale) -> Markup:
    time = scenario.timeline
    spot = Lane(top + LANE - 8, (LANE - 16) / most, time.bin_s, scale)
    done, offered = time.completed[label], time.offered[label]
    return tag(
        "g",
        tag("title", f"{label}: {sum(done)} of {sum(offered)} rides answered"),
        tag("text", label, x=0, y=spot.base - 12, class_="name"),
        tag("text", f"{sum(done)} of {sum(offered)}", x=0, y=spot.base + 2, class_="tick"),
        tag("line", x1=scale.left, x2=scale.right, y1=spot.base, y2=spot.base, class_="track"),
        [spot.bar(position, count) for position, count in enumerate(done) if count],
        tag("path", d=spot.steps(offered), class_="offered"),
        class_=f"plan {label}",
    )


@dataclass(frozen=True)
class Lane:
    """Where the counts of one plan are drawn: up from ``base``, ``unit`` for each ride."""

    base: int
    unit: float
    bin_s: float
    scale: TimeScale

    def bar(self, position: int, count: int) -> Markup:
        x, end = self.scale.at(position * self.bin_s), self.scale.at((position + 1) * self.bin_s)
        height = count * self.unit
        return tag("rect", x=x + 0.5, y=self.base - height, width=max(end - x - 1, 0.5), height=height, class_="bar")

    def steps(self, counts: Sequence[int]) -> str:
        ends = (self.scale.at((position + 1) * self.bin_s) for position in range(len(counts)))
        points = (f"V{self.base - count * self.unit:.1f}H{end:.1f}" for count, end in zip(counts, ends, strict=True))
        return f"M{self.scale.left:.1f} {self.base}{''.join(points)}V{self.base}"
