"""What is asked in every measurement: a fare, by message."""

from datetime import UTC, datetime, timedelta

from prebook.contracts.plan import Coupling
from prebook.contracts.pricing import QuoteFare
from prebook.contracts.ride import Place, VehicleClass
from prebook.flows import FLOWS
from prebook.messaging.envelope import Envelope, Kind

PLAN = dict.fromkeys(FLOWS, Coupling.REQUEST_REPLY)


def question(name: str, *, conversation: str) -> Envelope:
    """Under the id ``name``."""
    now = datetime.now(UTC)
    return Envelope(
        id=name,
        kind=Kind.REQUEST,
        flow="quote_fare",
        body=_ride(now),
        source="booking",
        conversation=conversation,
        time=now,
        plan=PLAN,
        reply_to="booking",
        expires_at=now + timedelta(hours=1),
    )


def _ride(now: datetime) -> QuoteFare:
    return QuoteFare(
        pickup=Place(lat=52.52, lon=13.40),
        dropoff=Place(lat=52.36, lon=13.51),
        pickup_at=now + timedelta(days=1),
        vehicle_class=next(iter(VehicleClass)),
        passengers=2,
    )
