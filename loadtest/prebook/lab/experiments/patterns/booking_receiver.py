"""Receiver process that runs booking's process on messages of its steps. Source: EIP, Process Manager."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import text

from prebook.booking import process
from prebook.booking.domain.booking import Booking, Ride
from prebook.contracts.matching import DriverMatched
from prebook.contracts.pricing import FareQuoted
from prebook.contracts.ride import BookingState, Money, Place, StateChange, VehicleClass
from prebook.lab.experiments import worker
from prebook.lab.experiments.events import PLAN
from prebook.lab.experiments.patterns.receiver import TIMEOUT_S, PatternReceiver, ReceiverSpec, ReceiverWork
from prebook.lab.experiments.patterns.site import RECEIVER_SERVICES
from prebook.lab.experiments.worker import WorkerContext
from prebook.messaging.handlers import HandlerContext, HandlerResult

SERVICE = RECEIVER_SERVICES[0]
NOW = datetime(2030, 1, 1, tzinfo=UTC)
"""Time of every step, so that equal messages lead to equal states."""
SELECT_STATE = text("SELECT booking FROM process_state WHERE run = :run AND booking_id = :booking_id")
UPSERT_STATE = text("""
    INSERT INTO process_state (run, booking_id, state, fare_cents, driver, booking)
    VALUES (:run, :booking_id, :state, :fare_cents, :driver, :booking)
    ON CONFLICT (run, booking_id) DO UPDATE SET state = :state, fare_cents = :fare_cents, driver = :driver,
        booking = :booking""")


class BookingStep(StrEnum):
    """Steps of a booking, each caused by one message."""

    START = "start"
    FARE = "fare"
    DRIVER = "driver"


class StateStore(StrEnum):
    """Place of the state that the process manager reads."""

    DATABASE = "database"
    MEMORY = "memory"


class BookingReceiverSpec(ReceiverSpec, frozen=True, kw_only=True):
    """Arguments of one process. ``omitted``: message that is acknowledged without its step; empty for none."""

    store: StateStore
    omitted: str = ""

    def __repr__(self) -> str:
        return "BookingReceiverSpec(<not printed: it holds secrets>)"


class BookingReceiver(PatternReceiver):
    """Receiver that applies each message to the booking it belongs to. Its state is written in either store."""

    def __init__(self, context: WorkerContext, spec: BookingReceiverSpec) -> None:
        super().__init__(context, spec)
        self._booking_spec = spec
        self._bookings = dict[str, Booking]()

    async def _apply(self, context: HandlerContext, _: Any, work: ReceiverWork) -> HandlerResult:
        name = context.conversation_id
        booking_id, _, step = name.partition(".")
        if step and name != self._booking_spec.omitted:
            booking = apply_step(booking_id, BookingStep(step), await self._read(booking_id, work))
            if booking:
                await self._write(booking, work)
        return await super()._apply(context, _, work)

    async def _read(self, booking_id: str, work: ReceiverWork) -> Booking | None:
        if self._booking_spec.store is StateStore.MEMORY:
            return self._bookings.get(booking_id)
        found = await work.connection.execute(SELECT_STATE, {"run": self._spec.run, "booking_id": booking_id})
        stored = found.scalar()
        return msgspec.json.decode(stored, type=Booking) if stored else None

    async def _write(self, booking: Booking, work: ReceiverWork) -> None:
        self._bookings[booking.id] = booking
        await work.connection.execute(
            UPSERT_STATE,
            {
                "run": self._spec.run,
                "booking_id": booking.id,
                "state": booking.state,
                "fare_cents": booking.quote.fare.cents if booking.quote else None,
                "driver": booking.driver.id if booking.driver else None,
                "booking": msgspec.json.encode(booking),
            },
        )


def apply_step(booking_id: str, step: BookingStep, booking: Booking | None) -> Booking | None:
    """Return the booking after a step; None if the step belongs to a booking that nobody knows."""
    if step is BookingStep.START:
        return process.start(new_booking(booking_id)).booking
    if booking is None:
        return None
    number = int(booking_id.rpartition("-")[2])
    if step is BookingStep.FARE:
        fare = FareQuoted(
            fare=Money(cents=1000 + number), discount=Money(cents=0), valid_until=NOW + timedelta(hours=1)
        )
        return process.apply_fare_reply(booking, fare, NOW).booking
    driver = DriverMatched(fleet="lab", driver=f"driver-{number}", minutes_away=5)
    return process.apply_driver_reply(booking, driver, NOW).booking


def new_booking(booking_id: str) -> Booking:
    """Return a booking that has just been requested."""
    ride = Ride(
        rider_id="lab",
        pickup=Place(lat=52.5, lon=13.4),
        dropoff=Place(lat=52.6, lon=13.4),
        pickup_at=NOW + timedelta(days=1),
        vehicle_class=VehicleClass.STANDARD,
        passengers=1,
    )
    requested = StateChange(state=BookingState.REQUESTED, at=NOW)
    return Booking(id=booking_id, key=booking_id, ride=ride, plan=PLAN, history=(requested,))


def step_name(booking_id: str, step: BookingStep) -> str:
    """Return the name of a booking's message."""
    return f"{booking_id}.{step}"


def run(spec: BookingReceiverSpec) -> None:
    """Entry point of the process."""
    worker.run_worker(SERVICE, spec, lambda context: BookingReceiver(context, spec).run(), timeout_s=TIMEOUT_S)
