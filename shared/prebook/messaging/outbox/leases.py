"""Which rows of the outbox are this relay's, by the key in whose line they stand or have stood."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from itertools import chain
from typing import TypeAlias

QueueKey: TypeAlias = tuple[str, str]
"""Lane and order key: what leaves under one of them leaves in order."""


class Leases:
    """From the moment when they are known to be ours until it is noted what became of them."""

    def __init__(self) -> None:
        self._seqs_by_key: dict[QueueKey, set[int]] = defaultdict(set)

    @property
    def seqs(self) -> Collection[int]:
        return set(chain.from_iterable(self._seqs_by_key.values()))

    def contains(self, key: QueueKey, seq: int) -> bool:
        return key in self._seqs_by_key and seq in self._seqs_by_key[key]

    def add(self, key: QueueKey, seqs: Collection[int]) -> None:
        if seqs:
            self._seqs_by_key[key].update(seqs)

    def remove(self, key: QueueKey, seqs: Iterable[int]) -> None:
        """What is not here may be dropped, too."""
        if key in self._seqs_by_key:
            left = self._seqs_by_key[key]
            left.difference_update(seqs)
            if not left:
                del self._seqs_by_key[key]

    def seqs_of(self, keys: Iterable[QueueKey]) -> list[int]:
        return [seq for key in keys if key in self._seqs_by_key for seq in self._seqs_by_key[key]]
