"""What booking's edge tells Prometheus. One process is one service, so they are made once, with the module."""

from collections.abc import Mapping

from prometheus_client import Counter, Gauge

from prebook.booking.domain.booking import Booking
from prebook.booking.store import Signals
from prebook.contracts.booking import State
from prebook.patterns.admission_control import Load

ADMITTED = "admitted"

_REQUESTS = Counter(
    "prebook_admissions", "Requests for a booking, by what admission control said: admitted, or why not", ("verdict",)
)
_PRESSURE = Gauge("prebook_pressure", "What waits, as a share of what may wait; 1 refuses newcomers", ("load",))
_WAITING = Gauge("prebook_unanswered", "Questions of bookings without an answer yet", ("flow", "coupling"))
_RATE = Gauge("prebook_answers_per_second", "Answers taken in over the last seconds", ("flow", "coupling"))
_EXPIRED = Counter("prebook_bookings_expired", "Bookings whose time was up, by what for", ("why",))


def moved(before: Booking, now: Booking) -> None:
    if now.state is State.EXPIRED is not before.state:
        _EXPIRED.labels((now.reason or "").partition(";")[0]).inc()


def said(verdict: str) -> None:
    _REQUESTS.labels(verdict).inc()


def seen(signals: Signals, loads: Mapping[str, Load]) -> None:
    for gauge in (_PRESSURE, _WAITING, _RATE):
        gauge.clear()
    for name, load in loads.items():
        _PRESSURE.labels(name).set(load.share)
    for (flow, coupling), waiting in signals.unanswered.items():
        _WAITING.labels(flow, coupling.value).set(waiting)
    for (flow, coupling), per_s in signals.answered_per_s.items():
        _RATE.labels(flow, coupling.value).set(per_s)
