"""Line chart over the seconds of a burst, one line per side, as SVG with the colours of the page."""

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
"""Round numbers within a decade."""
Points = Sequence[tuple[float, float]]
"""Pairs of time in seconds and value."""
SIDE_CLASSES: Mapping[str, str] = {"on": "plan request_reply", "off": "plan sync_api"}
"""CSS classes of each side: the style sheet defines the colours of the plans."""


def chart(title: str, unit: str, series: Mapping[str, Points], *, limit: float | None = None) -> Markup:
    """Return a figure with title, legend and one line per side. ``limit``: value of a dashed horizontal line."""
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
    """Return the name of a side, marked if it has no points."""
    return f" {side}" if points else f" {side}: not measured"


def axis_max(values: Iterable[float]) -> float:
    """Return the smallest round number that is at least 1 and not exceeded by a value."""
    highest = max([1.0, *values])
    decade = 1.0
    while decade * STEPS[-1] < highest:
        decade *= 10.0
    return next((decade * step for step in STEPS if decade * step >= highest), decade * 10.0)


def y_of(value: float, top: float) -> float:
    """Return the vertical coordinate of ``value`` on an axis from 0 to ``top``."""
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * min(max(value / top, 0.0), 1.0)


def line_path(side: str, points: Points, time: TimeScale, top: float) -> Markup:
    """Return the line of one side."""
    coordinates = " L".join(f"{time.position(at_s):.1f} {y_of(value, top):.1f}" for at_s, value in points)
    line = tag("path", d=f"M{coordinates}", fill="none", stroke="var(--plan)", stroke_width=1.8)
    return tag("g", tag("title", f"back pressure {side}"), line, class_=SIDE_CLASSES[side])


def grid(time: TimeScale, top: float) -> Iterator[Markup]:
    """Yield the grid lines and labels of both axes."""
    for value in (0.0, top / 2, top):
        y = y_of(value, top)
        yield tag("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="grid")
        yield tag("text", f"{value:g}", x=LEFT - 6, y=y + 4, class_="tick", text_anchor="end")
    for second in time.ticks:
        yield tag("text", f"{second} s", x=time.position(second), y=HEIGHT - 8, class_="tick", text_anchor="middle")


def limit_line(limit: float, top: float) -> Markup:
    """Return a dashed horizontal line at ``limit``."""
    y = y_of(limit, top)
    return tag("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, stroke="var(--bad)", stroke_dasharray="4 4")
