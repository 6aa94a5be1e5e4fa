"""What booking's edge tells Prometheus. One process is one service, so they are made once, with the module."""

from collections.abc import Mapping

from prometheus_client import Counter, Gauge

from prebook.booking.domain.booking import Booking
from prebook.booking.store import LoadSignals
from prebook.contracts.booking import BookingState
from prebook.patterns.admission_control import QueueLoad

ADMITTED = "admitted"

_ADMISSION_DECISIONS = Counter(
    "prebook_admissions", "Requests for a booking, by what admission control said: admitted, or why not", ("verdict",)
)
_LOAD_RATIO = Gauge("prebook_pressure", "What waits, as a share of what may wait; 1 refuses newcomers", ("load",))
_PENDING_REQUESTS = Gauge("prebook_unanswered", "Questions of bookings without an answer yet", ("flow", "coupling"))
_REPLIES_PER_S = Gauge("prebook_answers_per_second", "Answers taken in over the last seconds", ("flow", "coupling"))
_EXPIRED = Counter("prebook_bookings_expired", "Bookings whose time was up, by what for", ("why",))


def count_expired(before: Booking, after: Booking) -> None:
    if after.state is BookingState.EXPIRED is not before.state:
        _EXPIRED.labels((after.reason or "").partition(";")[0]).inc()


def count_decision(decision: str) -> None:
    _ADMISSION_DECISIONS.labels(decision).inc()


def set_load_gauges(signals: LoadSignals, loads: Mapping[str, QueueLoad]) -> None:
    for gauge in (_LOAD_RATIO, _PENDING_REQUESTS, _REPLIES_PER_S):
        gauge.clear()
    for name, load in loads.items():
        _LOAD_RATIO.labels(name).set(load.utilization)
    for (flow, coupling), waiting in signals.pending_requests.items():
        _PENDING_REQUESTS.labels(flow, coupling.value).set(waiting)
    for (flow, coupling), per_s in signals.replies_per_s.items():
        _REPLIES_PER_S.labels(flow, coupling.value).set(per_s)
