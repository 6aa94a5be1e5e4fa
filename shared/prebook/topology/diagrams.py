"""Pictures of a topology: data flow by the arrows' direction, control flow by their line."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from prebook.flows import ALL_FLOWS, EVENT_TYPES, SERVICES
from prebook.topology import svg
from prebook.topology.values import Arrow, Leg, Topology


@dataclass(frozen=True)
class SwimlaneRow:
    """One way from a service to the next stop, link by link."""

    arrows: tuple[Arrow, ...]

    @property
    def leg(self) -> Leg:
        return self.arrows[0].leg

    @property
    def stops(self) -> tuple[str, ...]:
        """Everything it passes, both ends included."""
        return (self.arrows[0].source, *(link.target for link in self.arrows))


@dataclass(frozen=True)
class Swimlane:
    name: str
    rows: tuple[SwimlaneRow, ...]

    @property
    def origin(self) -> str:
        """The service that it begins at."""
        return self.rows[0].stops[0]

    def is_outbound(self, row: SwimlaneRow) -> bool:
        """Away from home, or back to it."""
        return row.stops[0] == self.origin

    def far_end(self, row: SwimlaneRow) -> str:
        return row.stops[-1] if self.is_outbound(row) else row.stops[0]


def swimlanes(topology: Topology, order: Sequence[str]) -> tuple[Swimlane, ...]:
    """Swimlanes of the topology's arrows, in the given order of flows and event types."""
    by_name = {name: sorted(link for link in topology.arrows if link.swimlane == name) for name in order}
    return tuple(Swimlane(name, tuple(_rows(links))) for name, links in by_name.items() if links)


def _rows(arrows: Sequence[Arrow]) -> Iterable[SwimlaneRow]:
    """Rows of one leg share their first link and part where the broker routes to several queues."""
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

WIDTH, MARGIN = 1180, 24
SERVICE_WIDTH, STOP_WIDTH, STOP_HEIGHT = 128, 214, 32
ROW_HEIGHT, SWIMLANE_GAP, TITLE_HEIGHT, HEADING_HEIGHT, LEGEND_HEIGHT = 54, 16, 28, 64, 46
MAX_STOPS = 2
LEFT, RIGHT = MARGIN + 16, WIDTH - MARGIN - 16 - SERVICE_WIDTH
INNER_EDGES = (LEFT + SERVICE_WIDTH, RIGHT)
"""From the left services' edge to the right ones'."""


def mermaid_diagram(topology: Topology) -> str:
    """A flowchart: solid arrow pushed, dotted arrow pulled by its target."""
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


def svg_diagram(topology: Topology, *, title: str, subtitle: str) -> str:
    """An SVG document: one lane for each flow, caller on the left, provider on the right."""
    drawn: list[str] = []
    y: float = MARGIN + HEADING_HEIGHT
    for lane in swimlanes(topology, SWIMLANE_ORDER):
        drawn += _draw_swimlane(lane, topology, y)
        y += _swimlane_height(lane) + SWIMLANE_GAP
    heading = [svg.text(MARGIN, MARGIN + 22, title, "h1"), svg.text(MARGIN, MARGIN + 46, subtitle, "sub")]
    height = y + LEGEND_HEIGHT + MARGIN - SWIMLANE_GAP
    body = [*heading, *drawn, *_draw_legend(y)]
    return svg.document(WIDTH, height, title, f"{subtitle} {_text_description(topology)}", body)


def _draw_swimlane(swimlane: Swimlane, topology: Topology, y: float) -> Iterable[str]:
    yield svg.box(MARGIN, y, WIDTH - 2 * MARGIN, _swimlane_height(swimlane), "lane", radius=12)
    yield svg.text(LEFT, y + 21, swimlane.name, "h2")
    top = y + TITLE_HEIGHT
    yield from _draw_service(swimlane.origin, LEFT, top, len(swimlane.rows))
    for first, count, name in _far_ends(swimlane):
        if name in SERVICES:
            yield from _draw_service(name, RIGHT, top + first * ROW_HEIGHT, count)
    for _, group in groupby(enumerate(swimlane.rows), lambda numbered: numbered[1].arrows[0]):
        levels = {row: top + index * ROW_HEIGHT + ROW_HEIGHT / 2 for index, row in group}
        yield from _draw_rows(swimlane, levels, topology)


def _far_ends(swimlane: Swimlane) -> Iterable[tuple[int, int, str]]:
    """First row, number of rows, name: neighbours with one end share its box."""
    first = 0
    for index, row in enumerate(swimlane.rows):
        last = index + 1 == len(swimlane.rows) or swimlane.far_end(swimlane.rows[index + 1]) != swimlane.far_end(row)
        if last:
            yield first, index + 1 - first, swimlane.far_end(row)
            first = index + 1


def _draw_rows(swimlane: Swimlane, levels: Mapping[SwimlaneRow, float], topology: Topology) -> Iterable[str]:
    """Rows that begin as one: what they share is drawn once, as high as all of them."""
    first, heights = next(iter(levels)), tuple(levels.values())
    span = heights[-1] - heights[0]
    for step, link in enumerate(first.arrows[:1]):
        yield from _draw_arrow(link, _arrow_spans(swimlane, first)[step], heights[0] + span / 2)
    for stop, left in _stop_positions(swimlane, first)[:1]:
        yield _draw_stop(stop, topology, left, heights[0], STOP_HEIGHT + span)
    for row, y in levels.items():
        for link, ends in tuple(zip(row.arrows, _arrow_spans(swimlane, row), strict=True))[1:]:
            yield from _draw_arrow(link, ends, y)
        for stop, left in _stop_positions(swimlane, row)[1:]:
            yield _draw_stop(stop, topology, left, y, STOP_HEIGHT)


def _draw_arrow(arrow: Arrow, ends: tuple[float, float], y: float) -> Iterable[str]:
    yield svg.arrow(*ends, y, pulled=arrow.pulled)
    yield svg.text(sum(ends) / 2, y - 8, arrow.label, "label", anchor="middle")


def _stop_positions(swimlane: Swimlane, row: SwimlaneRow) -> list[tuple[str, float]]:
    """What a row passes between services, and the left edge of each: evenly spaced, in the direction of travel."""
    names = [stop for stop in row.stops if stop not in SERVICES]
    start, end = INNER_EDGES if swimlane.is_outbound(row) else INNER_EDGES[::-1]
    centres = (start + (end - start) * number / (MAX_STOPS + 1) for number in range(1, len(names) + 1))
    return [(name, x - STOP_WIDTH / 2) for name, x in zip(names, centres, strict=True)]


def _arrow_spans(swimlane: Swimlane, row: SwimlaneRow) -> list[tuple[float, float]]:
    """Where each link of a row leaves and arrives."""
    outward = swimlane.is_outbound(row)
    start, end = INNER_EDGES if outward else INNER_EDGES[::-1]
    near, far = (0, STOP_WIDTH) if outward else (STOP_WIDTH, 0)
    lefts = [left for _, left in _stop_positions(swimlane, row)]
    leaving, arriving = [start, *(x + far for x in lefts)], [*(x + near for x in lefts), end]
    return list(zip(leaving, arriving, strict=True))[: len(row.arrows)]


def _draw_stop(name: str, topology: Topology, left: float, y: float, height: float) -> str:
    """``y`` is the level of the first row that it stands in."""
    is_queue = any(queue.address == name for queue in topology.queues)
    draw = svg.queue if is_queue else svg.exchange
    return draw(left, y - STOP_HEIGHT / 2, STOP_WIDTH, height, _caption(name, topology))


def _caption(name: str, topology: Topology) -> str:
    """A message group is drawn as the queue that its consumer sees, with the number of its partitions."""
    partitions = topology.partition_count(name)
    return f"{name} ({partitions})" if partitions else name


def _draw_service(name: str, left: float, top: float, rows: int) -> Iterable[str]:
    height = rows * ROW_HEIGHT - 12
    yield svg.box(left, top + 6, SERVICE_WIDTH, height, "service", radius=8)
    yield svg.text(left + SERVICE_WIDTH / 2, top + 6 + height / 2 + 5, name, "name", anchor="middle")


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


def _text_description(topology: Topology) -> str:
    """The picture in words, for who cannot see it."""
    told = swimlanes(topology, SWIMLANE_ORDER)
    return " ".join(f"{lane.name}: {'; '.join(' to '.join(row.stops) for row in lane.rows)}." for lane in told)


def _mermaid_node(name: str, topology: Topology) -> str:
    queues = {queue.address for queue in topology.queues}
    exchanges = {exchange.name for exchange in topology.exchanges}
    text = escape(_caption(name, topology))
    if name in queues:
        return f'{_mermaid_id(name)}[("{text}")]'
    return f'{_mermaid_id(name)}{{{{"{text}"}}}}' if name in exchanges else f'{_mermaid_id(name)}["{text}"]'


def _mermaid_id(name: str) -> str:
    return name.replace(".", "_")
