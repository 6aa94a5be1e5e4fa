"""Prometheus metrics and log lines for every turn in a message's life."""

from functools import lru_cache

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import error_summary

DURATION_BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
MESSAGE_LABELS = ("flow", "coupling", "kind")
MAX_CACHED_LABEL_SETS = 256
"""Combinations of them whose metrics are found again without looking: of flows, couplings and kinds there are few."""
log = structlog.get_logger()


class Metrics:
    """The suite's metric names, in one place."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"prebook_messages_{name}", text, MESSAGE_LABELS, registry=registry)

        self.sent = counter("sent", "Messages handed over")
        self.send_failed = counter("unsent", "Messages that could not be handed over, by attempt")
        self.handled = counter("handled", "Messages that had their effect")
        self.handling_failed = counter("failed", "Handlings that raised, by attempt")
        self.duplicate = counter("duplicate", "Messages that had had their effect before")
        self.expired = Counter(
            "prebook_messages_expired",
            "Messages that nobody waited for any more, by where that was noticed",
            (*MESSAGE_LABELS, "where"),
            registry=registry,
        )
        self.retried = counter("retried", "Messages sent to a delay queue")
        self.dead_lettered = Counter(
            "prebook_messages_parked", "Messages set aside", ("flow", "cause"), registry=registry
        )
        self.send_s = Histogram(
            "prebook_send_seconds", "Time to hand over", MESSAGE_LABELS, buckets=DURATION_BUCKETS_S, registry=registry
        )
        self.handle_s = Histogram(
            "prebook_handle_seconds",
            "Time from the door to the commit",
            MESSAGE_LABELS,
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        self.outbox_waiting = Gauge("prebook_outbox_waiting", "Rows waiting in the outbox", registry=registry)
        self.outbox_oldest_age_s = Gauge(
            "prebook_outbox_oldest_seconds", "Age of the oldest waiting row", registry=registry
        )
        self.outbox_abandoned = Gauge(
            "prebook_outbox_given_up",
            "Rows that are not sent, by how they ended",
            ("state", "cause"),
            registry=registry,
        )
        self.consumer_circuit_open = Gauge(
            "prebook_gate_probing", "1 while a queue's messages are tried one at a time", ("queue",), registry=registry
        )
        self.consumer_paused_messages = Gauge(
            "prebook_gate_held", "Messages in hand that wait for that to end", ("queue",), registry=registry
        )
        held = ("group", "standing")
        self.blocked_messages = Gauge(
            "prebook_held_messages", "Messages put down to keep the order of their keys", held, registry=registry
        )
        self.blocked_keys = Gauge("prebook_held_keys", "Keys that they belong to", held, registry=registry)
        self.blocked_oldest_age_s = Gauge(
            "prebook_held_oldest_seconds", "Age of the oldest of them", held, registry=registry
        )
        self.http_client_requests = Counter(
            "prebook_http_calls", "Requests that left for another service, tries included", ("to",), registry=registry
        )
        self.provider_circuit_open = Gauge(
            "prebook_circuit_open", "1 while a service is not to be called", ("to",), registry=registry
        )
        self.db_pool_timeouts = Counter(
            "prebook_pool_timeouts", "Waits for a database connection that were in vain", registry=registry
        )
        self.loop_lag_s = Gauge("prebook_event_loop_lag_seconds", "Lag of the event loop", registry=registry)


class Telemetry:
    """Implements messaging.telemetry.Watch."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._sent_metrics = lru_cache(MAX_CACHED_LABEL_SETS)(
            lambda *said: (metrics.sent.labels(*said), metrics.send_s.labels(*said))
        )
        self._handled_metrics = lru_cache(MAX_CACHED_LABEL_SETS)(
            lambda *said: (metrics.handled.labels(*said), metrics.handle_s.labels(*said))
        )

    def on_sent(self, envelope: Envelope, seconds: float) -> None:
        count, took = self._sent_metrics(*_label_values(envelope))
        count.inc()
        took.observe(seconds)
        log.debug("sent", message=envelope)

    def on_send_failed(self, envelope: Envelope, error: Exception) -> None:
        self._metrics.send_failed.labels(*_label_values(envelope)).inc()
        log.warning("not sent", error=error_summary(error), message=envelope)

    def on_handled(self, envelope: Envelope, seconds: float) -> None:
        count, took = self._handled_metrics(*_label_values(envelope))
        count.inc()
        took.observe(seconds)
        log.info("handled", ms=round(seconds * 1000, 1), message=envelope)

    def on_handling_failed(self, envelope: Envelope, error: Exception) -> None:
        self._metrics.handling_failed.labels(*_label_values(envelope)).inc()
        log.error("failed", error=error_summary(error), attempt=envelope.attempt, message=envelope)

    def on_duplicate(self, envelope: Envelope) -> None:
        self._metrics.duplicate.labels(*_label_values(envelope)).inc()
        log.info("duplicate", message=envelope)

    def on_expired(self, envelope: Envelope, stage: str) -> None:
        self._metrics.expired.labels(*_label_values(envelope), stage).inc()
        log.warning("expired", where=stage, message=envelope)

    def on_retried(self, envelope: Envelope, delay_s: float) -> None:
        self._metrics.retried.labels(*_label_values(envelope)).inc()
        log.warning("retried", pause_s=delay_s, attempt=envelope.attempt, message=envelope)

    def on_dead_lettered(self, flow: str, cause: str) -> None:
        self._metrics.dead_lettered.labels(flow, cause).inc()
        log.error("parked", flow=flow, cause=cause)


def _label_values(envelope: Envelope) -> tuple[str, str, str]:
    return envelope.flow, envelope.coupling.value, envelope.kind.value
