"""A waiting room: whoever is turned away is told a time at which there will be room, each its own.

Telling everybody the same pause would bring them all back at once, to be turned away once more. Times are given one
after the other, at the rate at which room comes. Who does not come loses nothing but the place; nobody waits for it.
"""

MIN_WAIT_S = 1.0
MAX_WAIT_S = 120.0
"""Nobody is given a time farther ahead: what is true by then is not known now."""
RESERVATION_GRACE_S = 30.0
"""How much later than the given time one may come."""
MAX_RESERVATIONS = 10_000
"""Times given and not yet used; each costs about 200 bytes."""


class WaitingRoom:
    """Times are seconds of any monotonic clock, handed in. ``lane``: what is waited for, each with its own times."""

    def __init__(self) -> None:
        self._reserved_at: dict[str, float] = {}
        self._last_reserved_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._reserved_at)

    def has_due_reservation(self, key: str, now: float) -> bool:
        """It was told to come, and it is time."""
        return now >= self._reserved_at.get(key, now + 1.0)

    def remove(self, key: str) -> None:
        self._reserved_at.pop(key, None)

    def reserve_wait_s(
        self, key: str, now: float, *, opens_in_s: float, admissions_per_s: float, bottleneck: str = ""
    ) -> float:
        """How long this one should stay away. Who comes early is told the same time again."""
        self._drop_expired(now)
        given = self._reserved_at.get(key)
        if given is not None and given > now:
            return given - now
        first = now + max(MIN_WAIT_S, opens_in_s)
        # Who came in time and found no room goes before those who are here for the first time.
        at = (
            first
            if given is not None
            else max(first, self._last_reserved_at.get(bottleneck, 0.0) + 1.0 / admissions_per_s)
        )
        if at - now > MAX_WAIT_S or len(self._reserved_at) >= MAX_RESERVATIONS:
            return MAX_WAIT_S
        self._last_reserved_at[bottleneck] = max(self._last_reserved_at.get(bottleneck, 0.0), at)
        self._reserved_at.pop(key, None)
        self._reserved_at[key] = at
        return at - now

    def _drop_expired(self, now: float) -> None:
        """Those who did not come; the oldest stand first."""
        while self._reserved_at:
            oldest = next(iter(self._reserved_at))
            if self._reserved_at[oldest] + RESERVATION_GRACE_S >= now:
                return
            del self._reserved_at[oldest]
