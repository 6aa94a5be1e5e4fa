"""Fare request that all measurements send."""

from datetime import UTC, datetime, timedelta

from prebook.contracts.plan import Coupling
from prebook.contracts.pricing import QuoteFare
from prebook.contracts.ride import Place, VehicleClass
from prebook.flows import FLOWS
from prebook.messaging.envelope import Envelope, MessageKind

PLAN = dict.fromkeys(FLOWS, Coupling.REQUEST_REPLY)


def fare_request(message_id: str, *, conversation_id: str) -> Envelope:
    """Return a request of ``quote_fare`` from booking that expires in an hour."""
    now = datetime.now(UTC)
    return Envelope(
        id=message_id,
        kind=MessageKind.REQUEST,
        flow="quote_fare",
        body=_quote_fare(now),
        source="booking",
        conversation_id=conversation_id,
        time=now,
        plan=PLAN,
        reply_to="booking",
        expires_at=now + timedelta(hours=1),
    )


def _quote_fare(now: datetime) -> QuoteFare:
    return QuoteFare(
        pickup=Place(lat=52.52, lon=13.40),
        dropoff=Place(lat=52.36, lon=13.51),
        pickup_at=now + timedelta(days=1),
        vehicle_class=next(iter(VehicleClass)),
        passengers=2,
    )
