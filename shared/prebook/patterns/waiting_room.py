"""A waiting room: whoever is turned away is told a time at which there will be room, each its own.

Telling everybody the same pause would bring them all back at once, to be turned away once more. Times are given one
after the other, at the rate at which room comes. Who does not come loses nothing but the place; nobody waits for it.
"""

LEAST_WAIT_S = 1.0
LONGEST_WAIT_S = 120.0
"""Nobody is given a time farther ahead: what is true by then is not known now."""
KEPT_FOR_S = 30.0
"""How much later than the given time one may come."""
MOST = 10_000
"""Times given and not yet used; each costs about 200 bytes."""


class WaitingRoom:
    """Times are seconds of any monotonic clock, handed in. ``lane``: what is waited for, each with its own times."""

    def __init__(self) -> None:
        self._given: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._given)

    def expects(self, key: str, now: float) -> bool:
        """It was told to come, and it is time."""
        return now >= self._given.get(key, now + 1.0)

    def entered(self, key: str) -> None:
        self._given.pop(key, None)

    def wait_s(self, key: str, now: float, *, opens_in_s: float, per_s: float, lane: str = "") -> float:
        """How long this one should stay away. Who comes early is told the same time again."""
        self._forget(now)
        given = self._given.get(key)
        if given is not None and given > now:
            return given - now
        first = now + max(LEAST_WAIT_S, opens_in_s)
        # Who came in time and found no room goes before those who are here for the first time.
        at = first if given is not None else max(first, self._last.get(lane, 0.0) + 1.0 / per_s)
        if at - now > LONGEST_WAIT_S or len(self._given) >= MOST:
            return LONGEST_WAIT_S
        self._last[lane] = max(self._last.get(lane, 0.0), at)
        self._given.pop(key, None)
        self._given[key] = at
        return at - now

    def _forget(self, now: float) -> None:
        """Those who did not come; the oldest stand first."""
        while self._given:
            oldest = next(iter(self._given))
            if self._given[oldest] + KEPT_FOR_S >= now:
                return
            del self._given[oldest]
