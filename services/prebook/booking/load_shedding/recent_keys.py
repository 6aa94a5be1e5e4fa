"""Keys that this process let in a short while ago: what it would be worth to look up in an overload."""


class RecentKeys:
    """The last ``most`` keys, each about 150 bytes. One that is not here may have been let in all the same."""

    def __init__(self, max_keys: int) -> None:
        self._keys: dict[str, None] = {}
        self._max_keys = max_keys

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def add(self, key: str) -> None:
        self._keys[key] = None
        if len(self._keys) > self._max_keys:
            del self._keys[next(iter(self._keys))]
