"""Prometheus metrics and log lines for every turn in a message's life."""

from functools import lru_cache

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import spelled

BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
LABELS = ("flow", "coupling", "kind")
MOST_KEPT = 256
"""Combinations of them whose metrics are found again without looking: of flows, couplings and kinds there are few."""
log = structlog.get_logger()


class Metrics:
    """The suite's metric names, in one place."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"prebook_messages_{name}", text, LABELS, registry=registry)

        self.sent = counter("sent", "Messages handed over")
        self.unsent = counter("unsent", "Messages that could not be handed over, by attempt")
        self.handled = counter("handled", "Messages that had their effect")
        self.failed = counter("failed", "Handlings that raised, by attempt")
        self.duplicate = counter("duplicate", "Messages that had had their effect before")
        self.expired = Counter(
            "prebook_messages_expired",
            "Messages that nobody waited for any more, by where that was noticed",
            (*LABELS, "where"),
            registry=registry,
        )
        self.retried = counter("retried", "Messages sent to a delay queue")
        self.parked = Counter("prebook_messages_parked", "Messages set aside", ("flow", "cause"), registry=registry)
        self.send_s = Histogram("prebook_send_seconds", "Time to hand over", LABELS, buckets=BUCKETS, registry=registry)
        self.handle_s = Histogram(
            "prebook_handle_seconds", "Time from the door to the commit", LABELS, buckets=BUCKETS, registry=registry
        )
        self.outbox_waiting = Gauge("prebook_outbox_waiting", "Rows waiting in the outbox", registry=registry)
        self.outbox_oldest_s = Gauge(
            "prebook_outbox_oldest_seconds", "Age of the oldest waiting row", registry=registry
        )
        self.outbox_given_up = Gauge(
            "prebook_outbox_given_up",
            "Rows that are not sent, by how they ended",
            ("state", "cause"),
            registry=registry,
        )
        self.gate_probing = Gauge(
            "prebook_gate_probing", "1 while a queue's messages are tried one at a time", ("queue",), registry=registry
        )
        self.gate_held = Gauge(
            "prebook_gate_held", "Messages in hand that wait for that to end", ("queue",), registry=registry
        )
        held = ("group", "standing")
        self.held_messages = Gauge(
            "prebook_held_messages", "Messages put down to keep the order of their keys", held, registry=registry
        )
        self.held_keys = Gauge("prebook_held_keys", "Keys that they belong to", held, registry=registry)
        self.held_oldest_s = Gauge("prebook_held_oldest_seconds", "Age of the oldest of them", held, registry=registry)
        self.http_calls = Counter(
            "prebook_http_calls", "Requests that left for another service, tries included", ("to",), registry=registry
        )
        self.circuit_open = Gauge(
            "prebook_circuit_open", "1 while a service is not to be called", ("to",), registry=registry
        )
        self.pool_timeouts = Counter(
            "prebook_pool_timeouts", "Waits for a database connection that were in vain", registry=registry
        )
        self.loop_lag_s = Gauge("prebook_event_loop_lag_seconds", "Lag of the event loop", registry=registry)


class Telemetry:
    """Implements messaging.telemetry.Watch."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._sent = lru_cache(MOST_KEPT)(lambda *said: (metrics.sent.labels(*said), metrics.send_s.labels(*said)))
        self._handled = lru_cache(MOST_KEPT)(
            lambda *said: (metrics.handled.labels(*said), metrics.handle_s.labels(*said))
        )

    def sent(self, envelope: Envelope, seconds: float) -> None:
        count, took = self._sent(*_labels(envelope))
        count.inc()
        took.observe(seconds)
        log.debug("sent", message=envelope)

    def unsent(self, envelope: Envelope, error: Exception) -> None:
        self._metrics.unsent.labels(*_labels(envelope)).inc()
        log.warning("not sent", error=spelled(error), message=envelope)

    def handled(self, envelope: Envelope, seconds: float) -> None:
        count, took = self._handled(*_labels(envelope))
        count.inc()
        took.observe(seconds)
        log.info("handled", ms=round(seconds * 1000, 1), message=envelope)

    def failed(self, envelope: Envelope, error: Exception) -> None:
        self._metrics.failed.labels(*_labels(envelope)).inc()
        log.error("failed", error=spelled(error), attempt=envelope.attempt, message=envelope)

    def duplicate(self, envelope: Envelope) -> None:
        self._metrics.duplicate.labels(*_labels(envelope)).inc()
        log.info("duplicate", message=envelope)

    def expired(self, envelope: Envelope, where: str) -> None:
        self._metrics.expired.labels(*_labels(envelope), where).inc()
        log.warning("expired", where=where, message=envelope)

    def retried(self, envelope: Envelope, pause_s: float) -> None:
        self._metrics.retried.labels(*_labels(envelope)).inc()
        log.warning("retried", pause_s=pause_s, attempt=envelope.attempt, message=envelope)

    def parked(self, flow: str, cause: str) -> None:
        self._metrics.parked.labels(flow, cause).inc()
        log.error("parked", flow=flow, cause=cause)


def _labels(envelope: Envelope) -> tuple[str, str, str]:
    return envelope.flow, envelope.coupling.value, envelope.kind.value
