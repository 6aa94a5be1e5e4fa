"""In-memory store of pricing."""

from dataclasses import dataclass, field

from prebook.pricing.tables import DiscountState


@dataclass
class MemoryPricing:
    quota: int = 0
    grants: dict[str, DiscountState] = field(default_factory=dict)
    """State of the grant by booking id."""

    @property
    def granted(self) -> int:
        return sum(state is DiscountState.GRANTED for state in self.grants.values())

    async def grant_discount(self, booking_id: str, quota: int) -> bool:
        self.quota = max(self.quota, quota)
        new_state = DiscountState.GRANTED if self.granted < self.quota else DiscountState.NONE_LEFT
        return self.grants.setdefault(booking_id, new_state) is DiscountState.GRANTED

    async def return_discount(self, booking_id: str) -> None:
        if self.grants.setdefault(booking_id, DiscountState.ENDED) is DiscountState.GRANTED:
            self.grants[booking_id] = DiscountState.RETURNED
