"""Notification's log over plain lists."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from prebook.contracts.booking import DeliveryLine
from prebook.contracts.notification import Notice
from prebook.notification.domain.cursor import Position


@dataclass(frozen=True)
class Delivery:
    position: Position
    rider_id: str
    text: str
    at: datetime


@dataclass
class MemoryNotification:
    told: set[Position] = field(default_factory=set)
    log: list[Delivery] = field(default_factory=list)

    async def deliver(
        self, booking_id: str, notice: Notice, rider_id: str, text: str, *, overtakes: Sequence[Notice] = ()
    ) -> bool:
        self.told |= {Position(booking_id, each.value) for each in overtakes}
        position = Position(booking_id, notice.value)
        if position in self.told:
            return False
        self.told.add(position)
        self.log.append(Delivery(position, rider_id, text, datetime.now(UTC)))
        return True

    async def deliveries(self, since: datetime, after: Position, limit: int) -> Sequence[DeliveryLine]:
        recent = [entry for entry in self.log if entry.at >= since and entry.position > after]
        positions = sorted({entry.position for entry in recent})[:limit]
        return tuple(_line(at, [entry.at for entry in recent if entry.position == at]) for at in positions)


def _line(position: Position, times: Sequence[datetime]) -> DeliveryLine:
    return DeliveryLine(
        booking_id=position.booking_id, notice=position.notice, delivered_at=min(times), deliveries=len(times)
    )
