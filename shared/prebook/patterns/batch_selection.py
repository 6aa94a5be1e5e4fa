"""Which of those who wait may go together: a pure decision."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BatchCandidate:
    """``most`` is how many it would go with, itself included; 1: alone."""

    key: str
    max_batch_size: int


def select_batch(waiting: Sequence[BatchCandidate], busy_keys: Collection[str]) -> list[int]:
    """Places in ``waiting`` of those who go next, in their order; none where every key is under way.

    One of a key at a time, and in the key's order: two would wait for each other's locks, or overtake. The first who
    can go does; who comes with it must have nothing against so many, nor it against them.
    """
    taken: list[int] = []
    seen, most = set(busy_keys), 0
    for place, one in enumerate(waiting):
        if one.key not in seen and (not taken or len(taken) < min(most, one.max_batch_size)):
            taken.append(place)
            most = min(most, one.max_batch_size) if most else one.max_batch_size
            if len(taken) == most:
                break
        seen.add(one.key)
    return taken
