"""Diagrams of a topology: the direction of an arrow shows data flow, its line style shows control flow."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from prebook.flows import ALL_FLOWS, EVENT_TYPES, SERVICES
from prebook.topology import svg
from prebook.topology.values import Arrow, Leg, Topology


@dataclass(frozen=True)
class SwimlaneRow:
    """Path from one service to another, arrow by arrow."""

    arrows: tuple[Arrow, ...]

    @property
    def leg(self) -> Leg:
        """Leg of the flow that the row shows."""
        return self.arrows[0].leg

    @property
    def stops(self) -> tuple[str, ...]:
        """Names of all stops on the path, both ends included."""
        return (self.arrows[0].source, *(link.target for link in self.arrows))


@dataclass(frozen=True)
class Swimlane:
    """All paths of one flow or event type."""

    name: str
    rows: tuple[SwimlaneRow, ...]

    @property
    def origin(self) -> str:
        """Service at which the first path begins."""
        return self.rows[0].stops[0]

    def is_outbound(self, row: SwimlaneRow) -> bool:
        """Return whether a path leads away from the origin, not back to it."""
        return row.stops[0] == self.origin

    def far_end(self, row: SwimlaneRow) -> str:
        """Return the end of a path that is not the origin."""
        return row.stops[-1] if self.is_outbound(row) else row.stops[0]


def swimlanes(topology: Topology, order: Sequence[str]) -> tuple[Swimlane, ...]:
    """Return the swimlanes of a topology, in the given ``order`` of flows and event types."""
    by_name = {name: sorted(link for link in topology.arrows if link.swimlane == name) for name in order}
    return tuple(Swimlane(name, tuple(_rows(links))) for name, links in by_name.items() if links)


def _rows(arrows: Sequence[Arrow]) -> Iterable[SwimlaneRow]:
    """Rows of one leg share their first arrow and separate where the broker routes to several queues."""
    for leg in Leg:
        own = [link for link in arrows if link.leg == leg]
        starts = [link for link in own if link.hop == 0]
        yield from (row for start in starts for row in _paths((start,), own))


def _paths(path: tuple[Arrow, ...], arrows: Sequence[Arrow]) -> Iterable[SwimlaneRow]:
    onward = [link for link in arrows if link.hop == path[-1].hop + 1 and link.source == path[-1].target]
    if not onward:
        yield SwimlaneRow(path)
    for link in onward:
        yield from _paths((*path, link), arrows)


SWIMLANE_ORDER = (*(flow.name for flow in ALL_FLOWS), *(event.name for event in EVENT_TYPES))

WIDTH = 1180
MARGIN = 24
SERVICE_WIDTH = 128
STOP_WIDTH = 214
STOP_HEIGHT = 32
ROW_HEIGHT = 54
SWIMLANE_GAP = 16
TITLE_HEIGHT = 28
HEADING_HEIGHT = 64
LEGEND_HEIGHT = 46
MAX_STOPS = 2
LEFT = MARGIN + 16
RIGHT = WIDTH - MARGIN - 16 - SERVICE_WIDTH
INNER_EDGES = (LEFT + SERVICE_WIDTH, RIGHT)
"""Inner edges of the left and the right services."""


def mermaid_diagram(topology: Topology) -> str:
    """Return a Mermaid flowchart: solid arrows are pushed by the source, dotted ones pulled by the target."""
    links = {(x.source, x.target, x.label, x.pulled) for x in topology.arrows}
    shapes = sorted({end for link in topology.arrows for end in (link.source, link.target)})
    lines = ["flowchart LR", *(f"    {_mermaid_node(name, topology)}" for name in shapes)]
    for source, target, label, pulled in sorted(links):
        text = f'|"{label}"|' if label else ""
        lines.append(f"    {_mermaid_id(source)} {'-.->' if pulled else '-->'}{text} {_mermaid_id(target)}")
    lines.append("    classDef service stroke-width:2px")
    if named := [name for name in shapes if name in SERVICES]:
        lines.append(f"    class {','.join(map(_mermaid_id, named))} service")
    return "\n".join(lines) + "\n"


def svg_diagram(
    topology: Topology, *, title: str, subtitle: str, order: Sequence[str] = SWIMLANE_ORDER, embedded: bool = False
) -> str:
    """Return an SVG document with one swimlane per flow: the caller on the left, the provider on the right.

    ``order``: names of the swimlanes to draw, from top to bottom. ``embedded``: see ``svg.document``. Arrows, services
    and the stops between them are groups with the attributes ``data-arrow``, ``data-service`` and ``data-stop``.
    """
    drawn: list[str] = []
    y: float = MARGIN + HEADING_HEIGHT
    for lane in swimlanes(topology, order):
        drawn += _draw_swimlane(lane, topology, y)
        y += _swimlane_height(lane) + SWIMLANE_GAP
    heading = [svg.text(MARGIN, MARGIN + 22, title, "h1"), svg.text(MARGIN, MARGIN + 46, subtitle, "sub")]
    height = y + LEGEND_HEIGHT + MARGIN - SWIMLANE_GAP
    body = [*heading, *drawn, *_draw_legend(y)]
    description = f"{subtitle} {_text_description(topology, order)}"
    return svg.document(WIDTH, height, title, description, body, embedded=embedded)


def arrow_name(arrow: Arrow) -> str:
    """Return the name of an arrow in its diagram, the value of ``data-arrow``."""
    return f"{arrow.swimlane}/{arrow.leg.value}/{arrow.source}/{arrow.target}"


def _draw_swimlane(swimlane: Swimlane, topology: Topology, y: float) -> Iterable[str]:
    yield svg.box(MARGIN, y, WIDTH - 2 * MARGIN, _swimlane_height(swimlane), "lane", radius=12)
    yield svg.text(LEFT, y + 21, swimlane.name, "h2")
    top = y + TITLE_HEIGHT
    yield _draw_service(swimlane.origin, LEFT, top, len(swimlane.rows))
    for first, count, name in _far_ends(swimlane):
        if name in SERVICES:
            yield _draw_service(name, RIGHT, top + first * ROW_HEIGHT, count)
    for _, group in groupby(enumerate(swimlane.rows), lambda numbered: numbered[1].arrows[0]):
        levels = {row: top + index * ROW_HEIGHT + ROW_HEIGHT / 2 for index, row in group}
        yield from _draw_rows(swimlane, levels, topology)


def _far_ends(swimlane: Swimlane) -> Iterable[tuple[int, int, str]]:
    """Yield first row, number of rows and name of each far end; adjacent rows with one far end share its box."""
    first = 0
    for index, row in enumerate(swimlane.rows):
        last = index + 1 == len(swimlane.rows) or swimlane.far_end(swimlane.rows[index + 1]) != swimlane.far_end(row)
        if last:
            yield first, index + 1 - first, swimlane.far_end(row)
            first = index + 1


def _draw_rows(swimlane: Swimlane, levels: Mapping[SwimlaneRow, float], topology: Topology) -> Iterable[str]:
    """Draw rows that share their first arrow and stop; the shared part is as high as all rows."""
    first = next(iter(levels))
    heights = tuple(levels.values())
    span = heights[-1] - heights[0]
    for step, link in enumerate(first.arrows[:1]):
        yield _draw_arrow(link, _arrow_spans(swimlane, first)[step], heights[0] + span / 2)
    for stop, left in _stop_positions(swimlane, first)[:1]:
        yield _draw_stop(stop, topology, left, heights[0], STOP_HEIGHT + span)
    for row, y in levels.items():
        for link, ends in tuple(zip(row.arrows, _arrow_spans(swimlane, row), strict=True))[1:]:
            yield _draw_arrow(link, ends, y)
        for stop, left in _stop_positions(swimlane, row)[1:]:
            yield _draw_stop(stop, topology, left, y, STOP_HEIGHT)


def _draw_arrow(arrow: Arrow, ends: tuple[float, float], y: float) -> str:
    line = svg.arrow(*ends, y, pulled=arrow.pulled)
    label = svg.text(sum(ends) / 2, y - 8, arrow.label, "label", anchor="middle")
    return svg.group("arrow", arrow_name(arrow), (line, label))


def _stop_positions(swimlane: Swimlane, row: SwimlaneRow) -> list[tuple[str, float]]:
    """Stops of a row between services with their left edges, evenly spaced in the direction of data."""
    names = [stop for stop in row.stops if stop not in SERVICES]
    start, end = INNER_EDGES if swimlane.is_outbound(row) else INNER_EDGES[::-1]
    centres = (start + (end - start) * number / (MAX_STOPS + 1) for number in range(1, len(names) + 1))
    return [(name, x - STOP_WIDTH / 2) for name, x in zip(names, centres, strict=True)]


def _arrow_spans(swimlane: Swimlane, row: SwimlaneRow) -> list[tuple[float, float]]:
    """Start and end of each arrow of a row."""
    outward = swimlane.is_outbound(row)
    start, end = INNER_EDGES if outward else INNER_EDGES[::-1]
    near, far = (0, STOP_WIDTH) if outward else (STOP_WIDTH, 0)
    lefts = [left for _, left in _stop_positions(swimlane, row)]
    leaving = [start, *(x + far for x in lefts)]
    arriving = [*(x + near for x in lefts), end]
    return list(zip(leaving, arriving, strict=True))[: len(row.arrows)]


def _draw_stop(name: str, topology: Topology, left: float, y: float, height: float) -> str:
    """Draw an exchange or a queue. ``y``: level of its first row."""
    is_queue = any(queue.address == name for queue in topology.queues)
    draw = svg.queue if is_queue else svg.exchange
    shape = draw(left, y - STOP_HEIGHT / 2, STOP_WIDTH, height, _caption(name, topology))
    return svg.group("stop", name, (shape,))


def _caption(name: str, topology: Topology) -> str:
    """Caption of a stop; a message group is one queue, with the number of its partitions."""
    partitions = topology.partition_count(name)
    return f"{name} ({partitions})" if partitions else name


def _draw_service(name: str, left: float, top: float, rows: int) -> str:
    height = rows * ROW_HEIGHT - 12
    shape = svg.box(left, top + 6, SERVICE_WIDTH, height, "service", radius=8)
    label = svg.text(left + SERVICE_WIDTH / 2, top + 6 + height / 2 + 5, name, "name", anchor="middle")
    return svg.group("service", name, (shape, label))


def _swimlane_height(swimlane: Swimlane) -> float:
    return TITLE_HEIGHT + len(swimlane.rows) * ROW_HEIGHT + 6


def _draw_legend(y: float) -> Iterable[str]:
    middle = y + 14
    yield svg.arrow(MARGIN, MARGIN + 60, middle, pulled=False)
    yield svg.text(MARGIN + 70, middle + 4, "pushed: the source decides when", "key")
    yield svg.arrow(MARGIN + 300, MARGIN + 360, middle, pulled=True)
    yield svg.text(MARGIN + 370, middle + 4, "pulled: the target decides when", "key")
    yield svg.exchange(MARGIN + 600, middle - 12, 110, 24, "exchange")
    yield svg.queue(MARGIN + 726, middle - 12, 110, 24, "queue")
    yield svg.text(MARGIN + 852, middle + 4, "arrows point where data goes", "key")


def _text_description(topology: Topology, order: Sequence[str]) -> str:
    """Description of the diagram in words, for screen readers."""
    lanes = swimlanes(topology, order)
    return " ".join(f"{lane.name}: {'; '.join(' to '.join(row.stops) for row in lane.rows)}." for lane in lanes)


def _mermaid_node(name: str, topology: Topology) -> str:
    queues = {queue.address for queue in topology.queues}
    exchanges = {exchange.name for exchange in topology.exchanges}
    text = escape(_caption(name, topology))
    if name in queues:
        return f'{_mermaid_id(name)}[("{text}")]'
    return f'{_mermaid_id(name)}{{{{"{text}"}}}}' if name in exchanges else f'{_mermaid_id(name)}["{text}"]'


def _mermaid_id(name: str) -> str:
    return name.replace(".", "_")
