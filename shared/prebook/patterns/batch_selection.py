"""Batch selection: which waiting messages share the next transaction, as a pure decision."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BatchCandidate:
    """Message that waits for a transaction."""

    key: str
    """Conversation; messages with the same key never share or overlap transactions."""
    max_batch_size: int
    """Size of the largest batch that the message joins, itself included; 1: it gets its own transaction."""


def select_batch(waiting: Sequence[BatchCandidate], busy_keys: Collection[str]) -> list[int]:
    """Return the indexes in ``waiting`` of the next batch, ascending; empty if every key is busy.

    ``busy_keys``: keys with a running transaction. A batch has one message per key, the earliest: two would wait for
    each other's locks or overtake each other. It starts with the first message whose key is free, and is no larger
    than the smallest ``max_batch_size`` in it.
    """
    batch: list[int] = []
    seen_keys = set(busy_keys)
    max_size = 0
    for index, candidate in enumerate(waiting):
        if candidate.key not in seen_keys and (not batch or len(batch) < min(max_size, candidate.max_batch_size)):
            batch.append(index)
            max_size = min(max_size, candidate.max_batch_size) if max_size else candidate.max_batch_size
            if len(batch) == max_size:
                break
        seen_keys.add(candidate.key)
    return batch
