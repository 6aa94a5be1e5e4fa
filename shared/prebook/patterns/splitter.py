"""Splitter: breaks one message into parts that can be handled apart and put together again.

Each part names its group, its number and the number of parts, so that an aggregator (``patterns.aggregator``) needs no
knowledge of the message. Laws: the contents of the parts, by number, are the items; every number from 1 to ``size``
occurs once; all parts name the same group and size.

Source: EIP, Splitter and Message Sequence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """One part of a split message."""

    group_id: str
    """Message that the part belongs to. Source: EIP, Correlation Identifier."""
    number: int
    """Position in the message, from 1."""
    size: int
    """Number of parts of the message."""
    content: T


def split(group_id: str, items: Sequence[T], *, min_size: int = 1, max_size: int) -> tuple[Part[T], ...]:
    """Return one part for each item, in their order.

    Raises:
        ValueError: there are fewer than ``min_size`` or more than ``max_size`` items.
    """
    size = len(items)
    if not min_size <= size <= max_size:
        raise ValueError(f"{group_id!r} has {size} items; split {min_size} to {max_size} of them")
    return tuple(Part(group_id, number, size, item) for number, item in enumerate(items, 1))
