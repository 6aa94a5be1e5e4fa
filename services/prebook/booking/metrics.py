"""Prometheus metrics of booking, created at import: one process runs one service."""

from collections.abc import Mapping

from prometheus_client import Counter, Gauge

from prebook.booking.domain.booking import Booking
from prebook.booking.domain.trip import Trip
from prebook.booking.store import LoadSignals
from prebook.contracts.ride import BookingState
from prebook.patterns.admission_control import QueueLoad
from prebook.patterns.aggregator import PartVerdict

ADMITTED = "admitted"

_ADMISSION_DECISIONS = Counter(
    "prebook_admission_decisions",
    "Booking requests by admission decision: admitted, or the reason for the refusal.",
    ("decision",),
)
_LOAD_RATIO = Gauge(
    "prebook_load_ratio", "Utilization of each admission limit; new bookings are refused at 1.", ("load",)
)
_PENDING_REQUESTS = Gauge(
    "prebook_pending_requests", "Requests of bookings whose reply is still awaited.", ("flow", "coupling")
)
_REPLIES_PER_S = Gauge(
    "prebook_replies_per_second", "Replies received per second, averaged over the last seconds.", ("flow", "coupling")
)
_EXPIRED = Counter("prebook_bookings_expired", "Expired bookings, by the reason for the expiry.", ("reason",))


_SWEPT = Counter(
    "prebook_bookings_swept",
    "Bookings that waited for a reply without a deadline and were ended, by the flow of the reply. Only a defect or a "
    "forged message removes a deadline.",
    ("flow",),
)


_TRIPS_COMPLETED = Counter(
    "prebook_trips_completed", "Trips that got their outcome, by outcome and by what completed it.", ("state", "by")
)
_LEG_OUTCOMES = Counter(
    "prebook_trip_leg_outcomes",
    "Outcomes of legs received for trips: added, duplicate, or late (the trip was completed without it).",
    ("verdict",),
)


def count_leg_outcome(verdict: PartVerdict) -> None:
    """Count one outcome of a leg that was received for its trip."""
    _LEG_OUTCOMES.labels(verdict.value).inc()


def count_completed_trip(before: Trip, after: Trip) -> None:
    """Count the trip if this change completed it."""
    if after.legs.completed_by is not None and before.legs.completed_by is None:
        _TRIPS_COMPLETED.labels(after.state.value, after.legs.completed_by.value).inc()


def count_swept(flow: str) -> None:
    """Count one booking whose wait the sweeper has ended."""
    _SWEPT.labels(flow).inc()


def count_expired(before: Booking, after: Booking) -> None:
    """Count the booking if this change expired it."""
    if after.state is BookingState.EXPIRED is not before.state:
        _EXPIRED.labels((after.reason or "").partition(";")[0]).inc()


def count_decision(decision: str) -> None:
    """Count one admission decision: ``ADMITTED`` or the code of the refusal."""
    _ADMISSION_DECISIONS.labels(decision).inc()


def set_load_gauges(signals: LoadSignals, loads: Mapping[str, QueueLoad]) -> None:
    """Replace all load gauges by the latest sample."""
    for gauge in (_LOAD_RATIO, _PENDING_REQUESTS, _REPLIES_PER_S):
        gauge.clear()
    for name, load in loads.items():
        _LOAD_RATIO.labels(name).set(load.utilization)
    for (flow, coupling), waiting in signals.pending_requests.items():
        _PENDING_REQUESTS.labels(flow, coupling.value).set(waiting)
    for (flow, coupling), per_s in signals.replies_per_s.items():
        _REPLIES_PER_S.labels(flow, coupling.value).set(per_s)
