"""Examples of subscriptions to confirmed rides, and of the rides."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prebook.contracts.events import BookingConfirmed, BookingEnded, BookingEnding
from prebook.contracts.plan import Coupling
from prebook.contracts.ride import Money, VehicleClass
from prebook.flows import FLOWS
from prebook.messaging.envelope import Envelope, MessageKind
from prebook.runtime.paths import couplings_file
from prebook.topology.ride_subscriptions import RideSubscriptions, read_ride_subscriptions

TABLES = """
[desks.airport]
vehicle_classes = ["xl"]
[desks.west]
vehicle_classes = ["standard", "comfort"]
zones = ["52.4,13.2", "52.5,13.2"]
[extraordinary_rides]
min_fare_cents = 5000
min_distance_m = 30000
"""


def read_tables(path: Path, tables: str) -> RideSubscriptions:
    """Write a couplings.toml with further ``tables``, and read its subscriptions."""
    path.write_text(couplings_file().read_text() + tables)
    return read_ride_subscriptions(path)


def confirmed_ride(booking_id: str = "b-1", **changes: Any) -> Envelope:
    """Return the event of a confirmed ride; ``changes``: values that differ from the example."""
    body = BookingConfirmed(
        booking_id=booking_id,
        fleet="ada",
        driver="grace",
        fare=Money(cents=changes.pop("cents", 2_500)),
        vehicle_class=changes.pop("vehicle_class", VehicleClass.COMFORT),
        pickup_at=datetime(2030, 1, 1, tzinfo=UTC),
        zone=changes.pop("zone", "52.4,13.2"),
        distance_m=changes.pop("distance_m", 12_000),
    )
    return Envelope(
        id=f"{booking_id}.booking_confirmed",
        kind=MessageKind.EVENT,
        flow="booking_confirmed",
        body=body,
        source="booking",
        conversation_id=booking_id,
        time=datetime(2030, 1, 1, tzinfo=UTC),
        plan=dict.fromkeys(FLOWS, Coupling.ONE_WAY),
    )


def ended_booking(booking_id: str = "b-ended") -> Envelope:
    """Return the event of a booking that has ended without a ride."""
    return Envelope(
        id=f"{booking_id}.booking_ended",
        kind=MessageKind.EVENT,
        flow="booking_ended",
        body=BookingEnded(booking_id=booking_id, ending=BookingEnding.EXPIRED, reason="none"),
        source="booking",
        conversation_id=booking_id,
        time=datetime(2030, 1, 1, tzinfo=UTC),
        plan=dict.fromkeys(FLOWS, Coupling.ONE_WAY),
    )
