"""Which rows of the outbox are this relay's, by the key in whose line they stand or have stood."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from itertools import chain
from typing import TypeAlias

Key: TypeAlias = tuple[str, str]
"""Lane and order key: what leaves under one of them leaves in order."""


class Holdings:
    """From the moment when they are known to be ours until it is noted what became of them."""

    def __init__(self) -> None:
        self._seqs: dict[Key, set[int]] = defaultdict(set)

    @property
    def all(self) -> Collection[int]:
        return set(chain.from_iterable(self._seqs.values()))

    def has(self, key: Key, seq: int) -> bool:
        return key in self._seqs and seq in self._seqs[key]

    def add(self, key: Key, seqs: Collection[int]) -> None:
        if seqs:
            self._seqs[key].update(seqs)

    def drop(self, key: Key, seqs: Iterable[int]) -> None:
        """What is not here may be dropped, too."""
        if key in self._seqs:
            left = self._seqs[key]
            left.difference_update(seqs)
            if not left:
                del self._seqs[key]

    def of(self, keys: Iterable[Key]) -> list[int]:
        return [seq for key in keys if key in self._seqs for seq in self._seqs[key]]
