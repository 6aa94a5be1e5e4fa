"""A line over the seconds of a burst for each side, as SVG that takes its colours from the page."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prebook.lab.report.markup import Markup, tag
from prebook.lab.report.scales import TimeScale

WIDTH = 520
HEIGHT = 170
LEFT = 46
RIGHT = 510
TOP = 12
BOTTOM = 26
STEPS = (1.0, 2.0, 5.0)
Points = Sequence[tuple[float, float]]
SIDE_CLASSES: Mapping[str, str] = {"on": "plan request_reply", "off": "plan sync_api"}
"""Side -> the colour of a plan, which the page has already."""


def chart(title: str, unit: str, series: Mapping[str, Points], *, limit: float | None = None) -> Markup:
    """``series``: side -> (second, value). ``limit``: drawn across."""
    span_s = max((at for points in series.values() for at, _ in points), default=1.0)
    top = axis_max([value for points in series.values() for _, value in points] + ([limit] if limit else []))
    time = TimeScale(max(span_s, 1.0), LEFT, RIGHT)
    shapes = [line_path(side, points, time, top) for side, points in series.items() if points]
    legend = [
        tag("span", legend_text(side, points), class_=SIDE_CLASSES[side], style="color: var(--plan)")
        for side, points in series.items()
    ]
    return tag(
        "figure",
        tag("figcaption", title, tag("span", f", {unit}"), legend),
        tag(
            "svg",
            tag("title", f"{title} by second"),
            grid(time, top),
            limit_line(limit, top) if limit else "",
            shapes,
            viewBox=f"0 0 {WIDTH} {HEIGHT}",
            role="img",
            class_="chart",
        ),
    )


def legend_text(side: str, points: Points) -> str:
    return f" {side}" if points else f" {side}: not measured"


def axis_max(values: Iterable[float]) -> float:
    """A round number that no value exceeds; 1 at least."""
    most = max([1.0, *values])
    decade = 1.0
    while decade * STEPS[-1] < most:
        decade *= 10.0
    return next((decade * step for step in STEPS if decade * step >= most), decade * 10.0)


def y_of(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * min(max(value / top, 0.0), 1.0)


def line_path(side: str, points: Points, time: TimeScale, top: float) -> Markup:
    places = " L".join(f"{time.position(at):.1f} {y_of(value, top):.1f}" for at, value in points)
    line = tag("path", d=f"M{places}", fill="none", stroke="var(--plan)", stroke_width=1.8)
    return tag("g", tag("title", f"back pressure {side}"), line, class_=SIDE_CLASSES[side])


def grid(time: TimeScale, top: float) -> Iterator[Markup]:
    for value in (0.0, top / 2, top):
        y = y_of(value, top)
        yield tag("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="grid")
        yield tag("text", f"{value:g}", x=LEFT - 6, y=y + 4, class_="tick", text_anchor="end")
    for second in time.ticks:
        yield tag("text", f"{second} s", x=time.position(second), y=HEIGHT - 8, class_="tick", text_anchor="middle")


def limit_line(limit: float, top: float) -> Markup:
    y = y_of(limit, top)
    return tag("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, stroke="var(--bad)", stroke_dasharray="4 4")
