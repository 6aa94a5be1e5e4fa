"""In-memory store of notification."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from prebook.contracts.booking import DeliveryEntry
from prebook.contracts.notification import Notice
from prebook.contracts.riders import RiderProfile
from prebook.notification.domain.cursor import LogPosition


@dataclass(frozen=True)
class Delivery:
    position: LogPosition
    rider_id: str
    text: str
    at: datetime


@dataclass
class MemoryNotification:
    notified: set[LogPosition] = field(default_factory=set)
    log: list[Delivery] = field(default_factory=list)
    profiles: dict[str, RiderProfile] = field(default_factory=dict)

    async def deliver(
        self, booking_id: str, notice: Notice, rider_id: str, text: str, *, supersedes: Sequence[Notice] = ()
    ) -> bool:
        self.notified |= {LogPosition(booking_id, each.value) for each in supersedes}
        position = LogPosition(booking_id, notice.value)
        if position in self.notified:
            return False
        self.notified.add(position)
        self.log.append(Delivery(position, rider_id, text, datetime.now(UTC)))
        return True

    async def list_deliveries(self, since: datetime, after: LogPosition, limit: int) -> Sequence[DeliveryEntry]:
        recent = [entry for entry in self.log if entry.at >= since and entry.position > after]
        positions = sorted({entry.position for entry in recent})[:limit]
        return tuple(_entry(at, [entry.at for entry in recent if entry.position == at]) for at in positions)

    async def find_profile(self, rider_id: str) -> RiderProfile | None:
        return self.profiles.get(rider_id)

    async def save_profile(self, rider_id: str, profile: RiderProfile) -> None:
        self.profiles[rider_id] = profile


def _entry(position: LogPosition, times: Sequence[datetime]) -> DeliveryEntry:
    return DeliveryEntry(
        booking_id=position.booking_id, notice=position.notice, delivered_at=min(times), times_delivered=len(times)
    )
