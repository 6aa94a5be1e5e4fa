"""Leases: the outbox rows that this relay owns, by the key whose queue they are in."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from itertools import chain
from typing import TypeAlias

QueueKey: TypeAlias = tuple[str, str]
"""Route and ordering key. Rows with the same queue key are sent in the order in which they were committed."""


class Leases:
    """Sequence numbers of leased rows, from the claim or handoff until the outbox has recorded their outcome."""

    def __init__(self) -> None:
        self._seqs_by_key: dict[QueueKey, set[int]] = defaultdict(set)

    @property
    def seqs(self) -> Collection[int]:
        """Sequence numbers of all leased rows."""
        return set(chain.from_iterable(self._seqs_by_key.values()))

    def contains(self, key: QueueKey, seq: int) -> bool:
        """Return whether the row ``seq`` is leased under ``key``."""
        return key in self._seqs_by_key and seq in self._seqs_by_key[key]

    def add(self, key: QueueKey, seqs: Collection[int]) -> None:
        """Record rows as leased under ``key``."""
        if seqs:
            self._seqs_by_key[key].update(seqs)

    def remove(self, key: QueueKey, seqs: Iterable[int]) -> None:
        """Forget leases under ``key``; rows that are not leased are ignored."""
        if key in self._seqs_by_key:
            remaining = self._seqs_by_key[key]
            remaining.difference_update(seqs)
            if not remaining:
                del self._seqs_by_key[key]

    def seqs_of(self, keys: Iterable[QueueKey]) -> list[int]:
        """Return the sequence numbers of the rows leased under any of ``keys``."""
        return [seq for key in keys if key in self._seqs_by_key for seq in self._seqs_by_key[key]]
