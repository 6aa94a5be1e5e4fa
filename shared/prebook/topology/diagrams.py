"""Pictures of a topology: data flow by the arrows' direction, control flow by their line."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from prebook.flows import ANNOUNCEMENTS, CATALOGUE, SERVICES
from prebook.topology import svg
from prebook.topology.values import Leg, Link, Topology


@dataclass(frozen=True)
class Row:
    """One way from a service to the next stop, link by link."""

    links: tuple[Link, ...]

    @property
    def leg(self) -> Leg:
        return self.links[0].leg

    @property
    def stops(self) -> tuple[str, ...]:
        """Everything it passes, both ends included."""
        return (self.links[0].source, *(link.target for link in self.links))


@dataclass(frozen=True)
class Lane:
    name: str
    rows: tuple[Row, ...]

    @property
    def home(self) -> str:
        """The service that it begins at."""
        return self.rows[0].stops[0]

    def outward(self, row: Row) -> bool:
        """Away from home, or back to it."""
        return row.stops[0] == self.home

    def far(self, row: Row) -> str:
        return row.stops[-1] if self.outward(row) else row.stops[0]


def lanes(topology: Topology, order: Sequence[str]) -> tuple[Lane, ...]:
    """In the given order of flows and announcements."""
    by_name = {name: sorted(link for link in topology.links if link.lane == name) for name in order}
    return tuple(Lane(name, tuple(_rows(links))) for name, links in by_name.items() if links)


def _rows(links: Sequence[Link]) -> Iterable[Row]:
    """Rows of one leg share their first link and part where the broker routes to several queues."""
    for leg in Leg:
        own = [link for link in links if link.leg == leg]
        starts = [link for link in own if link.step == 0]
        yield from (row for start in starts for row in _followed((start,), own))


def _followed(way: tuple[Link, ...], links: Sequence[Link]) -> Iterable[Row]:
    onward = [link for link in links if link.step == way[-1].step + 1 and link.source == way[-1].target]
    if not onward:
        yield Row(way)
    for link in onward:
        yield from _followed((*way, link), links)


ORDER = (*(flow.name for flow in CATALOGUE), *(told.name for told in ANNOUNCEMENTS))

WIDTH, MARGIN = 1180, 24
SERVICE_W, STOP_W, STOP_H = 128, 214, 32
ROW_H, LANE_GAP, TITLE_H, HEAD_H, LEGEND_H = 54, 16, 28, 64, 46
MOST_STOPS = 2
LEFT, RIGHT = MARGIN + 16, WIDTH - MARGIN - 16 - SERVICE_W
INNER = (LEFT + SERVICE_W, RIGHT)
"""From the left services' edge to the right ones'."""


def mermaid(topology: Topology) -> str:
    """A flowchart: solid arrow pushed, dotted arrow pulled by its target."""
    links = {(x.source, x.target, x.label, x.pulled) for x in topology.links}
    shapes = sorted({end for link in topology.links for end in (link.source, link.target)})
    lines = ["flowchart LR", *(f"    {_shape(name, topology)}" for name in shapes)]
    for source, target, label, pulled in sorted(links):
        text = f'|"{label}"|' if label else ""
        lines.append(f"    {_id(source)} {'-.->' if pulled else '-->'}{text} {_id(target)}")
    lines.append("    classDef service stroke-width:2px")
    if named := [name for name in shapes if name in SERVICES]:
        lines.append(f"    class {','.join(map(_id, named))} service")
    return "\n".join(lines) + "\n"


def picture(topology: Topology, *, title: str, subtitle: str) -> str:
    """An SVG document: one lane for each flow, caller on the left, provider on the right."""
    drawn: list[str] = []
    y: float = MARGIN + HEAD_H
    for lane in lanes(topology, ORDER):
        drawn += _lane(lane, topology, y)
        y += _height(lane) + LANE_GAP
    heading = [svg.text(MARGIN, MARGIN + 22, title, "h1"), svg.text(MARGIN, MARGIN + 46, subtitle, "sub")]
    height = y + LEGEND_H + MARGIN - LANE_GAP
    body = [*heading, *drawn, *_legend(y)]
    return svg.document(WIDTH, height, title, f"{subtitle} {_read_out(topology)}", body)


def _lane(lane: Lane, topology: Topology, y: float) -> Iterable[str]:
    yield svg.box(MARGIN, y, WIDTH - 2 * MARGIN, _height(lane), "lane", radius=12)
    yield svg.text(LEFT, y + 21, lane.name, "h2")
    top = y + TITLE_H
    yield from _service(lane.home, LEFT, top, len(lane.rows))
    for first, count, name in _far_ends(lane):
        if name in SERVICES:
            yield from _service(name, RIGHT, top + first * ROW_H, count)
    for _, group in groupby(enumerate(lane.rows), lambda numbered: numbered[1].links[0]):
        levels = {row: top + index * ROW_H + ROW_H / 2 for index, row in group}
        yield from _ways(lane, levels, topology)


def _far_ends(lane: Lane) -> Iterable[tuple[int, int, str]]:
    """First row, number of rows, name: neighbours with one end share its box."""
    first = 0
    for index, row in enumerate(lane.rows):
        last = index + 1 == len(lane.rows) or lane.far(lane.rows[index + 1]) != lane.far(row)
        if last:
            yield first, index + 1 - first, lane.far(row)
            first = index + 1


def _ways(lane: Lane, levels: Mapping[Row, float], topology: Topology) -> Iterable[str]:
    """Rows that begin as one: what they share is drawn once, as high as all of them."""
    first, heights = next(iter(levels)), tuple(levels.values())
    span = heights[-1] - heights[0]
    for step, link in enumerate(first.links[:1]):
        yield from _link(link, _edges(lane, first)[step], heights[0] + span / 2)
    for stop, left in _between(lane, first)[:1]:
        yield _stop(stop, topology, left, heights[0], STOP_H + span)
    for row, y in levels.items():
        for link, ends in tuple(zip(row.links, _edges(lane, row), strict=True))[1:]:
            yield from _link(link, ends, y)
        for stop, left in _between(lane, row)[1:]:
            yield _stop(stop, topology, left, y, STOP_H)


def _link(link: Link, ends: tuple[float, float], y: float) -> Iterable[str]:
    yield svg.arrow(*ends, y, pulled=link.pulled)
    yield svg.text(sum(ends) / 2, y - 8, link.label, "label", anchor="middle")


def _between(lane: Lane, row: Row) -> list[tuple[str, float]]:
    """What a row passes between services, and the left edge of each: evenly spaced, in the direction of travel."""
    names = [stop for stop in row.stops if stop not in SERVICES]
    start, end = INNER if lane.outward(row) else INNER[::-1]
    centres = (start + (end - start) * number / (MOST_STOPS + 1) for number in range(1, len(names) + 1))
    return [(name, x - STOP_W / 2) for name, x in zip(names, centres, strict=True)]


def _edges(lane: Lane, row: Row) -> list[tuple[float, float]]:
    """Where each link of a row leaves and arrives."""
    outward = lane.outward(row)
    start, end = INNER if outward else INNER[::-1]
    near, far = (0, STOP_W) if outward else (STOP_W, 0)
    lefts = [left for _, left in _between(lane, row)]
    leaving, arriving = [start, *(x + far for x in lefts)], [*(x + near for x in lefts), end]
    return list(zip(leaving, arriving, strict=True))[: len(row.links)]


def _stop(name: str, topology: Topology, left: float, y: float, height: float) -> str:
    """``y`` is the level of the first row that it stands in."""
    is_queue = any(queue.address == name for queue in topology.queues)
    draw = svg.queue if is_queue else svg.exchange
    return draw(left, y - STOP_H / 2, STOP_W, height, _named(name, topology))


def _named(name: str, topology: Topology) -> str:
    """A message group is drawn as the queue that its consumer sees, with the number of its partitions."""
    partitions = topology.partitions(name)
    return f"{name} ({partitions})" if partitions else name


def _service(name: str, left: float, top: float, rows: int) -> Iterable[str]:
    height = rows * ROW_H - 12
    yield svg.box(left, top + 6, SERVICE_W, height, "service", radius=8)
    yield svg.text(left + SERVICE_W / 2, top + 6 + height / 2 + 5, name, "name", anchor="middle")


def _height(lane: Lane) -> float:
    return TITLE_H + len(lane.rows) * ROW_H + 6


def _legend(y: float) -> Iterable[str]:
    middle = y + 14
    yield svg.arrow(MARGIN, MARGIN + 60, middle, pulled=False)
    yield svg.text(MARGIN + 70, middle + 4, "pushed: the source decides when", "key")
    yield svg.arrow(MARGIN + 300, MARGIN + 360, middle, pulled=True)
    yield svg.text(MARGIN + 370, middle + 4, "pulled: the target decides when", "key")
    yield svg.exchange(MARGIN + 600, middle - 12, 110, 24, "exchange")
    yield svg.queue(MARGIN + 726, middle - 12, 110, 24, "queue")
    yield svg.text(MARGIN + 852, middle + 4, "arrows point where data goes", "key")


def _read_out(topology: Topology) -> str:
    """The picture in words, for who cannot see it."""
    told = lanes(topology, ORDER)
    return " ".join(f"{lane.name}: {'; '.join(' to '.join(row.stops) for row in lane.rows)}." for lane in told)


def _shape(name: str, topology: Topology) -> str:
    queues = {queue.address for queue in topology.queues}
    exchanges = {exchange.name for exchange in topology.exchanges}
    text = escape(_named(name, topology))
    if name in queues:
        return f'{_id(name)}[("{text}")]'
    return f'{_id(name)}{{{{"{text}"}}}}' if name in exchanges else f'{_id(name)}["{text}"]'


def _id(name: str) -> str:
    return name.replace(".", "_")
