"""Waiting room: a refused request gets its own time at which capacity is expected.

The same delay for all would bring them back at once, to be refused again. Reservations are given one after the other,
at the rate at which capacity becomes free. A reservation that is not used delays nobody.
"""

from collections.abc import Hashable

MIN_WAIT_S = 1.0
"""Minimum seconds until the time of a new reservation."""
MAX_WAIT_S = 120.0
"""Maximum seconds until the time of a new reservation: estimates for a later time are worthless."""
RESERVATION_GRACE_S = 30.0
"""Seconds after its time until which a reservation stays valid."""
MAX_RESERVATIONS = 10_000
"""Maximum number of unused reservations; each takes about 200 bytes."""


class WaitingRoom:
    """Reservations by key. All times are seconds of one monotonic clock of the caller."""

    def __init__(self) -> None:
        self._reserved_at: dict[Hashable, float] = {}
        self._last_reserved_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._reserved_at)

    def has_due_reservation(self, key: Hashable, now: float) -> bool:
        """Return whether ``key`` has a reservation whose time has come."""
        return now >= self._reserved_at.get(key, now + 1.0)

    def remove(self, key: Hashable) -> None:
        """Forget the reservation of ``key``, if there is one."""
        self._reserved_at.pop(key, None)

    def reserve_wait_s(
        self, key: Hashable, now: float, *, opens_in_s: float, admissions_per_s: float, bottleneck: str = ""
    ) -> float:
        """Return the seconds until the reservation of ``key``, and make one if there is none.

        An early return gets the same time again. ``opens_in_s``: seconds until capacity is expected;
        ``admissions_per_s``: rate of reservations; ``bottleneck``: each has its own schedule.
        """
        self._drop_expired(now)
        reserved_at = self._reserved_at.get(key)
        if reserved_at is not None and reserved_at > now:
            return reserved_at - now
        earliest = now + max(MIN_WAIT_S, opens_in_s)
        # A key that used its reservation and found no capacity precedes the keys that ask for the first time.
        new_time = (
            earliest
            if reserved_at is not None
            else max(earliest, self._last_reserved_at.get(bottleneck, 0.0) + 1.0 / admissions_per_s)
        )
        if new_time - now > MAX_WAIT_S or len(self._reserved_at) >= MAX_RESERVATIONS:
            return MAX_WAIT_S
        self._last_reserved_at[bottleneck] = max(self._last_reserved_at.get(bottleneck, 0.0), new_time)
        self._reserved_at.pop(key, None)
        self._reserved_at[key] = new_time
        return new_time - now

    def _drop_expired(self, now: float) -> None:
        """Remove reservations that were not used; the dict is in order of their creation."""
        while self._reserved_at:
            oldest = next(iter(self._reserved_at))
            if self._reserved_at[oldest] + RESERVATION_GRACE_S >= now:
                return
            del self._reserved_at[oldest]
