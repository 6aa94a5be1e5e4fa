"""Pricing's state over plain dicts."""

from dataclasses import dataclass, field


@dataclass
class MemoryPricing:
    quota: int = 0
    grants: dict[str, str] = field(default_factory=dict)
    """Booking id -> taken, none_left, returned or ended."""

    @property
    def granted(self) -> int:
        return sum(state == "taken" for state in self.grants.values())

    async def grant_discount(self, booking_id: str, quota: int) -> bool:
        self.quota = max(self.quota, quota)
        fresh = "taken" if self.granted < self.quota else "none_left"
        return self.grants.setdefault(booking_id, fresh) == "taken"

    async def return_discount(self, booking_id: str) -> None:
        if self.grants.setdefault(booking_id, "ended") == "taken":
            self.grants[booking_id] = "returned"
