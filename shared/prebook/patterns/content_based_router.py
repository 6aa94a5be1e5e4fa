"""Content-based router: each message goes to the one route whose criteria its attributes meet, or is unroutable.

The routes are disjoint, which is checked when the router is built. So the order of the routes does not
matter, and a broker that only compares attributes routes in the same way (``topology.content_based_routing``). Laws:

- in = messages of all routes + unroutable;
- no message is on two routes.

Source: EIP, Content-Based Router; Invalid Message Channel for what is unroutable.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product


class OverlappingRoutes(ValueError):
    """Two routes take the same messages."""


@dataclass(frozen=True, slots=True)
class Route:
    """A route, and the messages that it takes."""

    name: str
    criteria: Mapping[str, frozenset[str]]
    """Attribute -> its accepted values. Any value of other attributes is accepted."""

    def takes(self, attributes: Mapping[str, str]) -> bool:
        """Return whether a message with these attributes meets all criteria."""
        return all(attributes.get(name) in accepted for name, accepted in self.criteria.items())

    def overlaps(self, other: "Route") -> bool:
        """Return whether some message meets the criteria of both routes."""
        shared = self.criteria.keys() & other.criteria.keys()
        return all(self.criteria[name] & other.criteria[name] for name in shared)

    def combinations(self) -> Iterator[Mapping[str, str]]:
        """Yield the combinations of values that the route takes, each with one value for each of its attributes."""
        names = sorted(self.criteria)
        for values in product(*(sorted(self.criteria[name]) for name in names)):
            yield dict(zip(names, values, strict=True))


class ContentBasedRouter:
    """Router over disjoint routes."""

    def __init__(self, routes: Sequence[Route]) -> None:
        """Check the routes. Raises OverlappingRoutes, with the names of those that overlap."""
        if overlaps := [f"{a.name} and {b.name}" for a, b in combinations(routes, 2) if a.overlaps(b)]:
            raise OverlappingRoutes(f"some messages would be on two routes: {', '.join(overlaps)}")
        self.routes = tuple(routes)

    def route(self, attributes: Mapping[str, str]) -> str | None:
        """Return the name of the route of a message with these attributes; None if it is unroutable."""
        return next((route.name for route in self.routes if route.takes(attributes)), None)
