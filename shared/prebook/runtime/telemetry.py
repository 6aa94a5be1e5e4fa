"""Prometheus metrics and log events of messages: sent, handled, retried, expired, dead-lettered."""

from collections.abc import Sequence
from functools import lru_cache

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram

from prebook.flows import EVENT_TYPES, FLOWS
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import error_summary
from prebook.messaging.observer import NullObserver

DURATION_BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
MESSAGE_LABELS = ("flow", "coupling", "kind")
MAX_CACHED_LABEL_SETS = 256
"""Label combinations whose metric objects are cached; flows, couplings and kinds are few."""
UNKNOWN = "unknown"
"""Label of every value that the model does not know, so that headers of untrusted senders add no series."""
log = structlog.get_logger()


class MessageMetrics:
    """Counters and durations of every stage of a message."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, labels: Sequence[str] = MESSAGE_LABELS) -> Counter:
            return Counter(f"prebook_messages_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str) -> Histogram:
            return Histogram(f"prebook_{name}", text, MESSAGE_LABELS, buckets=DURATION_BUCKETS_S, registry=registry)

        self.sent = counter("sent", "Messages sent: confirmed by the broker or accepted over HTTP.")
        self.send_failed = counter("send_failed", "Failed attempts to send a message.")
        self.handled = counter("handled", "Messages whose handling was committed.")
        self.handling_failed = counter("handling_failed", "Failed attempts to handle a message; nothing was committed.")
        self.duplicate = counter("duplicate", "Messages ignored because the inbox already held their id.")
        self.expired = counter(
            "expired",
            "Messages dropped after their deadline, by the stage that dropped them (outbox or inbound).",
            (*MESSAGE_LABELS, "stage"),
        )
        self.retried = counter("retried", "Messages sent to a delay queue for another attempt.")
        self.dead_lettered = counter(
            "dead_lettered", "Messages sent to the parking queue, by flow and cause.", ("flow", "cause")
        )
        self.send_s = histogram(
            "send_seconds", "Time in seconds to send one message, until it is confirmed or accepted."
        )
        self.handle_s = histogram(
            "handle_seconds", "Time in seconds from receiving a message to the commit of its effect."
        )


class Telemetry(NullObserver):
    """Observer that records every stage of a message as metrics and log events."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        metrics = MessageMetrics(registry)
        self._metrics = metrics
        self._sent_metrics = lru_cache(MAX_CACHED_LABEL_SETS)(
            lambda *labels: (metrics.sent.labels(*labels), metrics.send_s.labels(*labels))
        )
        self._handled_metrics = lru_cache(MAX_CACHED_LABEL_SETS)(
            lambda *labels: (metrics.handled.labels(*labels), metrics.handle_s.labels(*labels))
        )

    def on_sent(self, envelope: Envelope, seconds: float) -> None:
        sent, duration = self._sent_metrics(*_label_values(envelope))
        sent.inc()
        duration.observe(seconds)
        log.debug("message sent", message=envelope)

    def on_send_failed(self, envelope: Envelope, error: Exception) -> None:
        self._metrics.send_failed.labels(*_label_values(envelope)).inc()
        log.warning("message send failed", error=error_summary(error), message=envelope)

    def on_handled(self, envelope: Envelope, seconds: float) -> None:
        handled, duration = self._handled_metrics(*_label_values(envelope))
        handled.inc()
        duration.observe(seconds)
        log.info("message handled", ms=round(seconds * 1000, 1), message=envelope)

    def on_handling_failed(self, envelope: Envelope, error: Exception) -> None:
        self._metrics.handling_failed.labels(*_label_values(envelope)).inc()
        log.error("message handling failed", error=error_summary(error), attempt=envelope.attempt, message=envelope)

    def on_duplicate(self, envelope: Envelope) -> None:
        self._metrics.duplicate.labels(*_label_values(envelope)).inc()
        log.info("duplicate message ignored", message=envelope)

    def on_expired(self, envelope: Envelope, stage: str) -> None:
        self._metrics.expired.labels(*_label_values(envelope), stage).inc()
        log.warning("message expired", stage=stage, message=envelope)

    def on_retried(self, envelope: Envelope, delay_s: float) -> None:
        self._metrics.retried.labels(*_label_values(envelope)).inc()
        log.warning("message retry scheduled", delay_s=delay_s, attempt=envelope.attempt, message=envelope)

    def on_dead_lettered(self, message_id: str, flow: str, cause: str) -> None:
        self._metrics.dead_lettered.labels(_flow_label(flow), cause).inc()
        log.error("message dead-lettered", message_id=message_id, flow=flow, cause=cause)


def _flow_label(flow: str) -> str:
    """Return the name of a flow or event type of the model, or UNKNOWN: an undecodable message may name any."""
    return flow if flow in FLOWS or any(flow == each.name for each in EVENT_TYPES) else UNKNOWN


def _label_values(envelope: Envelope) -> tuple[str, str, str]:
    return envelope.flow, envelope.coupling.value, envelope.kind.value
