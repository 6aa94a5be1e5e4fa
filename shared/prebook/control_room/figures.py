"""Figures of the control room from the metrics of all processes. Pure: scrapes in, sections out."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prebook.control_room.exposition import MetricSample
from prebook.control_room.pressure_chain import chain_of
from prebook.messaging.envelope import MessageKind

MESSAGE_COUNTERS: Mapping[str, str] = {
    f"prebook_messages_{name}_total": name
    for name in ("sent", "send_failed", "handled", "handling_failed", "duplicate", "expired", "retried")
}
"""Name of a metric -> name of the figure."""
EXPIRED = "expired"
INBOUND = "inbound"
EXPIRED_INBOUND = "expired_inbound"
"""Messages that their receiver dropped after their deadline; part of ``expired``."""
DEAD_LETTERED = "prebook_messages_dead_lettered_total"
HTTP_REQUESTS = "prebook_http_client_requests_total"
DECISIONS = "prebook_admission_decisions_total"
PROCESS_GAUGES: Mapping[str, str] = {
    "prebook_outbox_waiting": "outbox",
    "prebook_outbox_oldest_age_seconds": "outbox_oldest_s",
    "prebook_event_loop_lag_seconds": "loop_lag_s",
}
ABANDONED = "prebook_outbox_abandoned"
CIRCUIT_OPEN = "prebook_consumer_circuit_open"
CIRCUIT_PAUSED = "prebook_consumer_paused_messages"
BREAKER_OPEN = "prebook_provider_circuit_open"
LOAD_RATIO = "prebook_load_ratio"
PENDING_REQUESTS = "prebook_pending_requests"
METRICS = frozenset(
    {*MESSAGE_COUNTERS, DEAD_LETTERED, HTTP_REQUESTS, DECISIONS, *PROCESS_GAUGES, ABANDONED, CIRCUIT_OPEN}
    | {CIRCUIT_PAUSED, BREAKER_OPEN, LOAD_RATIO, PENDING_REQUESTS}
)
"""All metrics that the control room reads."""
Scrape = Mapping[str, Sequence[MetricSample] | None]
"""Process -> its samples; None if it does not answer."""
EVENT = MessageKind.EVENT.value
SENDER_FIGURES = frozenset({"sent", "send_failed"})
"""Figures that senders count; the others are counted by receivers."""
UP = "up"
AWAY = "away"


@dataclass
class CounterTotals:
    """Totals of counters that begin again at 0 with every restart of their process.

    What a process counted between its last scrape and its end is lost with it.
    """

    _last: dict[tuple[str, str, str], float] = field(default_factory=dict)
    _totals: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))

    def add(self, process: str, figure: str, key: str, value: float) -> None:
        """Add the growth of one counter of a process to the total of ``figure`` and ``key``."""
        last = self._last.get((process, figure, key), 0.0)
        self._last[process, figure, key] = value
        self._totals[figure, key] += value - last if value >= last else value

    def of(self, figure: str) -> dict[str, int]:
        """Return the totals of a figure by key."""
        return {key: round(total) for (name, key), total in self._totals.items() if name == figure}


def figures_of(scrape: Scrape, totals: CounterTotals) -> dict[str, Any]:
    """Return the sections that the metrics fill; ``totals`` are carried on.

    ``messages``: by flow, coupling and kind, joined by slashes; what receivers of an event count also by service.
    ``parked``: by flow and cause. ``calls``: by process and
    provider. ``processes``, ``circuits`` and ``breakers``: as of now. ``admission`` and ``chain``: booking's.
    """
    for process, samples in scrape.items():
        for figure, key, value in _counters(process, samples or ()):
            totals.add(process, figure, key, value)
    admission = _admission(scrape)
    return {
        "messages": _messages(totals),
        "parked": totals.of("parked"),
        "calls": totals.of("calls"),
        "processes": {process: _process(samples) for process, samples in scrape.items()},
        "circuits": _circuits(scrape),
        "breakers": _breakers(scrape),
        "admission": {"decisions": totals.of("decisions"), **admission},
        "chain": chain_of(admission["loads"]),
    }


def _counters(process: str, samples: Sequence[MetricSample]) -> Iterable[tuple[str, str, float]]:
    """Yield figure, key and value of each counter; samples of one key are summed over its other labels."""
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for sample in samples:
        label = sample.labels.get
        if name := MESSAGE_COUNTERS.get(sample.name):
            receiver = f"/{_service(process)}" if label("kind") == EVENT and name not in SENDER_FIGURES else ""
            key = f"{label('flow')}/{label('coupling')}/{label('kind')}{receiver}"
            sums[name, key] += sample.value
            if name == EXPIRED and label("stage") == INBOUND:
                sums[EXPIRED_INBOUND, key] += sample.value
        elif sample.name == DEAD_LETTERED:
            sums["parked", f"{label('flow')}/{label('cause')}"] += sample.value
        elif sample.name == HTTP_REQUESTS:
            sums["calls", f"{process}/{label('provider')}"] += sample.value
        elif sample.name == DECISIONS:
            sums["decisions", f"{label('decision')}"] += sample.value
    for (figure, key), value in sums.items():
        yield figure, key, value


def _service(process: str) -> str:
    """Return the service of a process; replicas are numbered."""
    return process.partition("-")[0]


def _messages(totals: CounterTotals) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for figure in (*MESSAGE_COUNTERS.values(), EXPIRED_INBOUND):
        for key, total in totals.of(figure).items():
            found[key][figure] = total
    return dict(found)


def _process(samples: Sequence[MetricSample] | None) -> dict[str, Any]:
    if samples is None:
        return {"state": AWAY}
    gauges = {figure: round(sample.value, 3) for sample in samples if (figure := PROCESS_GAUGES.get(sample.name))}
    abandoned = round(sum(sample.value for sample in samples if sample.name == ABANDONED))
    return {"state": UP, "abandoned": abandoned, **gauges}


def _circuits(scrape: Scrape) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for process, sample in _named(scrape, {CIRCUIT_OPEN, CIRCUIT_PAUSED}):
        figures = found[f"{process}/{sample.labels['queue']}"]
        if sample.name == CIRCUIT_OPEN:
            figures["open"] = sample.value > 0
        else:
            figures["paused"] = round(sample.value)
    return dict(found)


def _breakers(scrape: Scrape) -> dict[str, bool]:
    return {f"{p}/{sample.labels['provider']}": sample.value > 0 for p, sample in _named(scrape, {BREAKER_OPEN})}


def _admission(scrape: Scrape) -> dict[str, dict[str, Any]]:
    loads = {sample.labels["load"]: round(sample.value, 3) for _, sample in _named(scrape, {LOAD_RATIO})}
    pending = {
        f"{sample.labels['flow']}/{sample.labels['coupling']}": round(sample.value)
        for _, sample in _named(scrape, {PENDING_REQUESTS})
    }
    return {"loads": loads, "pending": pending}


def _named(scrape: Scrape, names: set[str]) -> Iterable[tuple[str, MetricSample]]:
    """Yield the samples with these names, each with its process."""
    for process, samples in scrape.items():
        for sample in samples or ():
            if sample.name in names:
                yield process, sample
