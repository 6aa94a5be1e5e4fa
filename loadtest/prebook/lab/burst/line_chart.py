"""A line over the seconds of a burst for each side, as SVG that takes its colours from the page."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prebook.lab.report.markup import Markup, tag
from prebook.lab.report.scales import TimeScale

WIDTH, HEIGHT, LEFT, RIGHT, TOP, FOOT = 520, 170, 46, 510, 12, 26
STEPS = (1.0, 2.0, 5.0)
Points = Sequence[tuple[float, float]]
CLASSES: Mapping[str, str] = {"on": "plan request_reply", "off": "plan sync_api"}
"""Side -> the colour of a plan, which the page has already."""


def chart(title: str, unit: str, lines: Mapping[str, Points], *, bound: float | None = None) -> Markup:
    """``lines``: side -> (second, value). ``bound``: drawn across."""
    span_s = max((at for points in lines.values() for at, _ in points), default=1.0)
    top = ceiling([value for points in lines.values() for _, value in points] + ([bound] if bound else []))
    time = TimeScale(max(span_s, 1.0), LEFT, RIGHT)
    shapes = [path(side, points, time, top) for side, points in lines.items() if points]
    legend = [
        tag("span", named(side, points), class_=CLASSES[side], style="color: var(--plan)")
        for side, points in lines.items()
    ]
    return tag(
        "figure",
        tag("figcaption", title, tag("span", f", {unit}"), legend),
        tag(
            "svg",
            tag("title", f"{title} by second"),
            grid(time, top),
            limit(bound, top) if bound else "",
            shapes,
            viewBox=f"0 0 {WIDTH} {HEIGHT}",
            role="img",
            class_="chart",
        ),
    )


def named(side: str, points: Points) -> str:
    return f" {side}" if points else f" {side}: not measured"


def ceiling(values: Iterable[float]) -> float:
    """A round number that no value exceeds; 1 at least."""
    most = max([1.0, *values])
    decade = 1.0
    while decade * STEPS[-1] < most:
        decade *= 10.0
    return next((decade * step for step in STEPS if decade * step >= most), decade * 10.0)


def height(value: float, top: float) -> float:
    return HEIGHT - FOOT - (HEIGHT - FOOT - TOP) * min(max(value / top, 0.0), 1.0)


def path(side: str, points: Points, time: TimeScale, top: float) -> Markup:
    places = " L".join(f"{time.at(at):.1f} {height(value, top):.1f}" for at, value in points)
    line = tag("path", d=f"M{places}", fill="none", stroke="var(--plan)", stroke_width=1.8)
    return tag("g", tag("title", f"back pressure {side}"), line, class_=CLASSES[side])


def grid(time: TimeScale, top: float) -> Iterator[Markup]:
    for value in (0.0, top / 2, top):
        y = height(value, top)
        yield tag("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="grid")
        yield tag("text", f"{value:g}", x=LEFT - 6, y=y + 4, class_="tick", text_anchor="end")
    for second in time.ticks:
        yield tag("text", f"{second} s", x=time.at(second), y=HEIGHT - 8, class_="tick", text_anchor="middle")


def limit(bound: float, top: float) -> Markup:
    y = height(bound, top)
    return tag("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, stroke="var(--bad)", stroke_dasharray="4 4")
