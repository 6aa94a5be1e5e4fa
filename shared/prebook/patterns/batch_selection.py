"""Which of those who wait may go together: a pure decision."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Passenger:
    """``most`` is how many it would go with, itself included; 1: alone."""

    key: str
    most: int


def together(waiting: Sequence[Passenger], under_way: Collection[str]) -> list[int]:
    """Places in ``waiting`` of those who go next, in their order; none where every key is under way.

    One of a key at a time, and in the key's order: two would wait for each other's locks, or overtake. The first who
    can go does; who comes with it must have nothing against so many, nor it against them.
    """
    taken: list[int] = []
    seen, most = set(under_way), 0
    for place, one in enumerate(waiting):
        if one.key not in seen and (not taken or len(taken) < min(most, one.most)):
            taken.append(place)
            most = min(most, one.most) if most else one.most
            if len(taken) == most:
                break
        seen.add(one.key)
    return taken
