"""Timeline of a run as SVG: one row for each group, and the global order below. Pure."""

from collections.abc import Callable, Iterator, Sequence

from prebook.lab.experiments.ordering.workers import Effect
from prebook.lab.report.markup import Markup, tag
from prebook.lab.report.scales import TimeScale

WIDTH = 1080
LEFT = 110
ROW_HEIGHT = 26
HEADER_HEIGHT = 26
BAR_HEIGHT = 16
STYLE = """
svg { background: #fff; font: 11px system-ui, sans-serif; fill: #222; }
.bar { fill: #9ecae1; } .late { fill: #fdae6b; } .track { stroke: #ddd; } .number { text-anchor: middle; }
.title { font-weight: 600; font-size: 13px; }
"""


def timeline(title: str, effects: Sequence[Effect], group_of: Callable[[int], int]) -> str:
    """Return the picture. ``effects``: in the order of their ends; ``group_of``: returns a message's group.

    A bar is the work on a message, with the message's position; it is orange if the effect came after that of a later
    message of the same row. The last row has all messages in the order of their effects.
    """
    start_s = min(effect.started_s for effect in effects)
    scale = TimeScale(max(effect.ended_s for effect in effects) - start_s, LEFT, WIDTH - 14)
    groups = sorted({group_of(effect.position) for effect in effects})
    tops = {group: HEADER_HEIGHT + ROW_HEIGHT * row for row, group in enumerate(groups)}
    global_top = HEADER_HEIGHT + ROW_HEIGHT * len(groups) + BAR_HEIGHT
    rows = [
        row(f"group {group}", tops[group], bars([e for e in effects if group_of(e.position) == group], scale, start_s))
        for group in groups
    ]
    picture = tag(
        "svg",
        tag("title", title),
        tag("style", Markup(STYLE)),
        tag("text", title, x=0, y=15, class_="title"),
        rows,
        row("global order", global_top, ends(effects, scale)),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {global_top + 2 * ROW_HEIGHT}",
        role="img",
    )
    return str(picture)


Place = tuple[float, float, int, bool]
"""Left and right end in pixels, position of the message, and whether a later one was before it."""


def bars(effects: Sequence[Effect], scale: TimeScale, start_s: float) -> Iterator[Place]:
    """Yield the work on each message."""
    latest = -1
    for effect in effects:
        left, right = (scale.position(at_s - start_s) for at_s in (effect.started_s, effect.ended_s))
        yield left, max(right, left + 2), effect.position, effect.position < latest
        latest = max(latest, effect.position)


def ends(effects: Sequence[Effect], scale: TimeScale) -> Iterator[Place]:
    """Yield the messages in the order of their ends, in equal steps."""
    latest = -1
    step = (scale.right - scale.left) / len(effects)
    for number, effect in enumerate(effects):
        left = scale.left + step * number
        yield left, left + step - 2, effect.position, effect.position < latest
        latest = max(latest, effect.position)


def row(name: str, top: int, places: Iterator[Place]) -> Markup:
    """Return a row with a bar at each place."""
    middle = top + BAR_HEIGHT / 2
    drawn = [
        (
            tag("rect", x=left, y=top, width=right - left, height=BAR_HEIGHT, rx=2, class_="late" if late else "bar"),
            tag("text", str(position), x=(left + right) / 2, y=middle + 4, class_="number"),
        )
        for left, right, position, late in places
    ]
    track = tag("line", x1=LEFT, x2=WIDTH - 14, y1=middle, y2=middle, class_="track")
    return tag("g", tag("text", name, x=0, y=middle + 4), track, drawn)
