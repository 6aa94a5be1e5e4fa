"""Two services of a separate project: loyalty awards points for rides, and checkout shows riders their balance."""

from dataclasses import dataclass
from typing import Any, Protocol

from prebook.contracts.message import Message, Unavailable
from prebook.flows import Flow, ServiceName
from prebook.messaging.codec import register
from prebook.messaging.handlers import HandlerContext, HandlerResult, Handlers, HandlerSpec
from prebook.postgres.unit_of_work import SqlUnitOfWork
from prebook.runtime.service import Service


class AwardPoints(Message, frozen=True, kw_only=True):
    """Request for points of one ride."""

    rider_id: str
    fare_cents: int


class PointsAwarded(Message, frozen=True, kw_only=True):
    """Points have been added to the rider's balance."""

    balance: int


AWARD_POINTS: Flow[AwardPoints, PointsAwarded] = Flow(
    "award_points", ServiceName("checkout"), ServiceName("loyalty"), AwardPoints, (PointsAwarded,)
)
register(AWARD_POINTS)


class PointsStore(Protocol):
    """Points of all riders."""

    async def add_points(self, rider_id: str, points: int) -> int:
        """Add points and return the rider's balance."""
        ...


class ReceiptStore(Protocol):
    """Receipts of all rides."""

    async def save_receipt(self, ride_id: str, text: str) -> None:
        """Save the receipt of a ride."""
        ...


@dataclass(frozen=True)
class FinishRide:
    """Command of checkout: a ride has ended and is paid."""

    rider_id: str
    fare_cents: int


async def award_points(_: HandlerContext, request: AwardPoints, work: PointsStore) -> HandlerResult:
    """Award one point per euro."""
    if request.fare_cents < 0:
        raise ValueError("a fare is not negative")
    balance = await work.add_points(request.rider_id, request.fare_cents // 100)
    return HandlerResult(reply=PointsAwarded(balance=balance))


async def finish_ride(_: HandlerContext, command: FinishRide, __: ReceiptStore) -> HandlerResult:
    """Request the points of a ride."""
    body = AwardPoints(rider_id=command.rider_id, fare_cents=command.fare_cents)
    return HandlerResult(requests=(AWARD_POINTS.new_request(body),))


async def write_receipt(
    context: HandlerContext, reply: PointsAwarded | Unavailable, work: ReceiptStore
) -> HandlerResult:
    """Write the receipt of a ride; the rider reads it without points if loyalty has not replied in time."""
    text = f"you have {reply.balance} points" if isinstance(reply, PointsAwarded) else "points follow later"
    await work.save_receipt(context.conversation_id, text)
    return HandlerResult()


# ``unit_of_work`` makes a service's stores on PostgreSQL: here subclasses of SqlUnitOfWork would implement them.
LOYALTY: Service[Any] = Service(
    name=AWARD_POINTS.provider,
    handlers=lambda _: Handlers(on_request={AWARD_POINTS: HandlerSpec(award_points)}),
    unit_of_work=SqlUnitOfWork,
)
CHECKOUT: Service[Any] = Service(
    name=AWARD_POINTS.caller,
    handlers=lambda _: Handlers(
        on_command={FinishRide: HandlerSpec(finish_ride)}, on_reply={AWARD_POINTS: HandlerSpec(write_receipt)}
    ),
    unit_of_work=SqlUnitOfWork,
)
