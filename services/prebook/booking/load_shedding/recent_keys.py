"""Idempotency-Keys that this process has admitted recently: worth a look-up even under overload."""

from collections.abc import Hashable


class RecentKeys:
    """The last ``max_keys`` admitted keys, about 150 bytes each. An absent key may have been admitted too."""

    def __init__(self, max_keys: int) -> None:
        self._keys: dict[Hashable, None] = {}
        self._max_keys = max_keys

    def __contains__(self, key: Hashable) -> bool:
        return key in self._keys

    def add(self, key: Hashable) -> None:
        """Remember an admitted key; the oldest one is forgotten above ``max_keys``."""
        self._keys[key] = None
        if len(self._keys) > self._max_keys:
            del self._keys[next(iter(self._keys))]
