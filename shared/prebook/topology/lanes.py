"""The links of a topology in reading order: a lane for each flow and announcement, a row for each way through it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
