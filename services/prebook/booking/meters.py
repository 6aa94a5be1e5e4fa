"""What booking's edge tells Prometheus. One process is one service, so they are made once, with the module."""

from collections.abc import Mapping

from prometheus_client import Counter, Gauge

from prebook.booking.store import Signals
from prebook.patterns.admission import Load

ADMITTED = "admitted"

_REQUESTS = Counter(
    "prebook_admissions", "Requests for a booking, by what admission control said: admitted, or why not", ("verdict",)
)
_PRESSURE = Gauge("prebook_pressure", "What waits, as a share of what may wait; 1 refuses newcomers", ("load",))
_WAITING = Gauge("prebook_unanswered", "Questions of bookings without an answer yet", ("flow", "coupling"))
_RATE = Gauge("prebook_answers_per_second", "Answers taken in over the last seconds", ("flow", "coupling"))


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
