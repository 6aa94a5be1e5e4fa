"""Message filter: passes the messages with a number that reaches a threshold, and drops all others.

A broker can compare attributes only for equality, not by size. So a sender describes each number by its
*band*, the count of the bounds that it reaches, and the filter lists the bands that pass. A threshold is therefore one
of the bounds. Laws:

- in = passed + dropped;
- every passed message matches, whether the filter reads numbers or bands.

Source: EIP, Message Filter.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


def band(number: int, bounds: Sequence[int]) -> int:
    """Return how many of ``bounds``, in ascending order, the number reaches."""
    return bisect_right(bounds, number)


@dataclass(frozen=True, slots=True)
class Threshold:
    """Minimum of a number. Raises ValueError if it is no bound of the number's bands."""

    attribute: str
    """Attribute with the band of the number."""
    minimum: int
    bounds: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.minimum not in self.bounds:
            raise ValueError(f"{self.minimum} is no bound; choose one of {', '.join(map(str, self.bounds))}")

    @property
    def passing_bands(self) -> frozenset[str]:
        """Bands of the numbers that reach the minimum, as text."""
        return frozenset(map(str, range(band(self.minimum, self.bounds), len(self.bounds) + 1)))


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Filter that passes a message if it reaches one of the thresholds."""

    thresholds: tuple[Threshold, ...]

    def passes(self, attributes: Mapping[str, str]) -> bool:
        """Return whether a message with these attributes passes."""
        return any(attributes.get(each.attribute) in each.passing_bands for each in self.thresholds)

    def criteria(self) -> Iterator[tuple[str, str]]:
        """Yield pairs of an attribute and a value; a message passes if it has one of them."""
        for each in self.thresholds:
            for value in sorted(each.passing_bands, key=int):
                yield each.attribute, value
