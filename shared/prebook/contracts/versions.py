"""Former versions of messages, and the pure steps from each version to the next and back.

A service works with the newest version of a body only. A receiver upcasts what it reads, one step after the other; a
sender whose receivers are not upgraded yet downcasts what it writes. An upcast loses nothing. A downcast may lose what
the former version cannot say. Source: Young, "Versioning in an Event Sourced System", upcasting.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from prebook.contracts.distance import SECONDS_PER_MINUTE, whole_minutes
from prebook.contracts.events import BookingEnded, BookingEnding
from prebook.contracts.matching import FindDriver
from prebook.contracts.message import Message
from prebook.contracts.ride import Cents, Money, Passengers, Place, RideMinutes, Stop, VehicleClass

EUR = "EUR"
"""Currency of amounts in versions that name none."""
Old = TypeVar("Old", bound=Message)
New = TypeVar("New", bound=Message)


@dataclass(frozen=True)
class Step(Generic[Old, New]):
    """Change from one version of a message to the next."""

    old: type[Old]
    new: type[New]
    upcast: Callable[[Old], New]
    downcast: Callable[[New], Old]


class FindDriverV1(Message, frozen=True, kw_only=True):
    """Request for a driver, version 1: a pickup without a label, and a duration in minutes."""

    pickup: Place
    pickup_at: datetime
    ride_minutes: RideMinutes
    vehicle_class: VehicleClass
    passengers: Passengers


class FindDriverV2(Message, frozen=True, kw_only=True):
    """Request for a driver, version 2: the pickup has a label."""

    pickup: Stop
    pickup_at: datetime
    ride_minutes: RideMinutes
    vehicle_class: VehicleClass
    passengers: Passengers


def label_pickup(old: FindDriverV1) -> FindDriverV2:
    """Return version 2, with a pickup that has no label."""
    return FindDriverV2(
        pickup=Stop(place=old.pickup),
        pickup_at=old.pickup_at,
        ride_minutes=old.ride_minutes,
        vehicle_class=old.vehicle_class,
        passengers=old.passengers,
    )


def drop_label(new: FindDriverV2) -> FindDriverV1:
    """Return version 1, without the label."""
    return FindDriverV1(
        pickup=new.pickup.place,
        pickup_at=new.pickup_at,
        ride_minutes=new.ride_minutes,
        vehicle_class=new.vehicle_class,
        passengers=new.passengers,
    )


def count_seconds(old: FindDriverV2) -> FindDriver:
    """Return version 3, with the duration in seconds."""
    return FindDriver(
        pickup=old.pickup,
        pickup_at=old.pickup_at,
        ride_s=old.ride_minutes * SECONDS_PER_MINUTE,
        vehicle_class=old.vehicle_class,
        passengers=old.passengers,
    )


def round_up_to_minutes(new: FindDriver) -> FindDriverV2:
    """Return version 2, with the duration in minutes, rounded up."""
    return FindDriverV2(
        pickup=new.pickup,
        pickup_at=new.pickup_at,
        ride_minutes=whole_minutes(new.ride_s),
        vehicle_class=new.vehicle_class,
        passengers=new.passengers,
    )


class BookingEndedV1(Message, frozen=True, kw_only=True):
    """A booking has ended without a ride, version 1: nothing is charged for it."""

    booking_id: str
    ending: BookingEnding
    reason: str


class BookingEndedV2(Message, frozen=True, kw_only=True):
    """A booking has ended without a ride, version 2: the fee is in euro cents."""

    booking_id: str
    ending: BookingEnding
    reason: str
    fee_cents: Cents


def charge_nothing(old: BookingEndedV1) -> BookingEndedV2:
    """Return version 2, without a fee."""
    return BookingEndedV2(booking_id=old.booking_id, ending=old.ending, reason=old.reason, fee_cents=0)


def drop_fee(new: BookingEndedV2) -> BookingEndedV1:
    """Return version 1, without the fee."""
    return BookingEndedV1(booking_id=new.booking_id, ending=new.ending, reason=new.reason)


def name_currency(old: BookingEndedV2) -> BookingEnded:
    """Return version 3, with a fee that names its currency."""
    fee = Money(cents=old.fee_cents, currency=EUR)
    return BookingEnded(booking_id=old.booking_id, ending=old.ending, reason=old.reason, fee=fee)


def count_euro_cents(new: BookingEnded) -> BookingEndedV2:
    """Return version 2, with the fee in euro cents. Raises ValueError for another currency."""
    if new.fee.currency != EUR:
        raise ValueError(f"version 2 has no other currency than {EUR}: write version 3 of booking_ended")
    return BookingEndedV2(booking_id=new.booking_id, ending=new.ending, reason=new.reason, fee_cents=new.fee.cents)


STEPS: Mapping[type[Message], Sequence[Step[Any, Any]]] = {
    FindDriver: (
        Step(FindDriverV1, FindDriverV2, label_pickup, drop_label),
        Step(FindDriverV2, FindDriver, count_seconds, round_up_to_minutes),
    ),
    BookingEnded: (
        Step(BookingEndedV1, BookingEndedV2, charge_nothing, drop_fee),
        Step(BookingEndedV2, BookingEnded, name_currency, count_euro_cents),
    ),
}
"""Steps from the first version to the newest, by the class of the newest. A message that is missing has one version."""


def versions_of(newest: type[Message]) -> Sequence[type[Message]]:
    """Return the classes of all versions of a message, the first version first."""
    return (*(step.old for step in STEPS.get(newest, ())), newest)


def upcast(body: Message, newest: type[Message]) -> Message:
    """Return a body of any version in the newest one."""
    for step in STEPS.get(newest, ()):
        if type(body) is step.old:
            body = step.upcast(body)
    return body


def downcast(body: Message, version: int) -> Message:
    """Return a body of the newest version in an older one, numbered from 1. Raises ValueError if it cannot say it."""
    for step in reversed(STEPS.get(type(body), ())[version - 1 :]):
        body = step.downcast(body)
    return body
