"""Spans of messages, exported to an OpenTelemetry collector by OTLP. Needs the extra ``otel``.

A span is made after the fact, from what the observer is told, with the ids that the messages carry: there is nothing to
open or to pass on while a message is handled. Spans wait in a bounded queue for a thread that exports them; those that
find it full, or the collector away, are dropped.

Source: OpenTelemetry, semantic conventions for messaging spans; OTLP 1.
"""

import secrets
import threading
import time
from collections.abc import Mapping, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from prebook.contracts.plan import Coupling
from prebook.messaging.envelope import Envelope, MessageKind
from prebook.messaging.errors import error_summary
from prebook.messaging.observer import NullObserver
from prebook.messaging.spans import handling_span, parent_span, sending_span
from prebook.messaging.staging import MessageContext
from prebook.patterns.trace import TraceContext, is_sampled, span_id, trace_id

EXPORT_TIMEOUT_S = 2.0
"""Seconds for one request to the collector, its retries included."""
CLOSE_TIMEOUT_S = 3.0
NS_PER_S = 1_000_000_000
SCOPE = InstrumentationScope("prebook")
OK = Status(StatusCode.UNSET)
BROKER_COUPLINGS = frozenset({Coupling.ONE_WAY, Coupling.REQUEST_REPLY})


def create_exporter(url: str) -> SpanExporter:
    """Return an exporter to the collector with this base URL."""
    return OTLPSpanExporter(endpoint=f"{url.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT_S)


class SpanRecorder(NullObserver):
    """Observer that exports a span for every sampled message sent or handled, and for every command.

    A receiver of a call, request or reply is a child of its sending. A receiver of a one-way message has a link to it
    instead, since its sender waits for nobody.
    """

    def __init__(self, service: str, exporter: SpanExporter) -> None:
        self._service = service
        self._resource = Resource({"service.name": service, "service.namespace": "prebook"})
        self._processor = BatchSpanProcessor(exporter)

    def close(self) -> None:
        """Export what is queued, within ``CLOSE_TIMEOUT_S`` seconds; drop the rest."""
        closing = threading.Thread(target=self._processor.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_TIMEOUT_S)

    def on_sent(self, envelope: Envelope, seconds: float) -> None:
        self._export_sending(envelope, sending_span(envelope), seconds)

    def on_send_failed(self, envelope: Envelope, error: Exception) -> None:
        # The message keeps the id of its span for the attempt that succeeds.
        self._export_sending(envelope, secrets.token_hex(8), 0.0, error)

    def on_handled(self, envelope: Envelope, seconds: float) -> None:
        self._export_handling(envelope, seconds)

    def on_handling_failed(self, envelope: Envelope, error: Exception) -> None:
        self._export_handling(envelope, 0.0, error)

    def on_executed(self, command: str, context: MessageContext, seconds: float) -> None:
        attributes = {"messaging.message.conversation_id": context.conversation_id}
        span = span_id(context.trace.traceparent)
        self._export(context.trace, span, command, kind=SpanKind.SERVER, attributes=attributes, seconds=seconds)

    def _export_sending(self, envelope: Envelope, span: str, seconds: float, error: Exception | None = None) -> None:
        kind = SpanKind.CLIENT if envelope.coupling is Coupling.SYNC_API else SpanKind.PRODUCER
        attributes = _attributes(envelope, "send")
        name = f"send {envelope.flow}"
        self._export(
            envelope.trace,
            span,
            name,
            kind=kind,
            attributes=attributes,
            seconds=seconds,
            parent=parent_span(envelope),
            error=error,
        )

    def _export_handling(self, envelope: Envelope, seconds: float, error: Exception | None = None) -> None:
        is_call = envelope.coupling is Coupling.SYNC_API and envelope.kind is MessageKind.REQUEST
        cause = self._cause_of(envelope)
        is_linked = envelope.coupling is Coupling.ONE_WAY
        self._export(
            envelope.trace,
            handling_span(envelope, self._service),
            f"process {envelope.flow}",
            kind=SpanKind.SERVER if is_call else SpanKind.CONSUMER,
            attributes=_attributes(envelope, "process"),
            seconds=seconds,
            parent="" if is_linked else cause,
            links=[cause] if is_linked else [],
            error=error,
        )

    def _cause_of(self, envelope: Envelope) -> str:
        """Return the span of the sending; for a synthetic reply, which is sent by nobody, that of its request."""
        is_synthetic = envelope.kind is MessageKind.REPLY and envelope.source == self._service
        return span_id(envelope.trace.traceparent) if is_synthetic else sending_span(envelope)

    def _export(
        self,
        trace: TraceContext,
        span: str,
        name: str,
        *,
        kind: SpanKind,
        attributes: Mapping[str, str | int],
        seconds: float,
        parent: str = "",
        links: Sequence[str] = (),
        error: Exception | None = None,
    ) -> None:
        if not is_sampled(trace.traceparent):
            return
        end_ns = time.time_ns()
        raised = [Event("exception", {"exception.message": error_summary(error)}, end_ns)] if error else []
        context = _context(trace, span)
        self._processor.on_end(
            ReadableSpan(
                name,
                context=context,
                parent=_context(trace, parent) if parent else None,
                resource=self._resource,
                attributes=attributes,
                events=raised,
                links=[Link(_context(trace, link)) for link in links],
                kind=kind,
                status=Status(StatusCode.ERROR, error_summary(error)) if error else OK,
                start_time=end_ns - int(seconds * NS_PER_S),
                end_time=end_ns,
                instrumentation_scope=SCOPE,
            )
        )


def _context(trace: TraceContext, span: str) -> SpanContext:
    return SpanContext(
        int(trace_id(trace.traceparent), 16), int(span, 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)
    )


def _attributes(envelope: Envelope, operation: str) -> Mapping[str, str | int]:
    """Return what identifies a message, without its body."""
    uses_broker = envelope.coupling in BROKER_COUPLINGS
    return {
        "messaging.system": "rabbitmq" if uses_broker else "http",
        "messaging.operation.type": operation,
        "messaging.operation.name": operation,
        "messaging.destination.name": envelope.flow,
        "messaging.message.id": envelope.id,
        "messaging.message.conversation_id": envelope.conversation_id,
        "prebook.coupling": envelope.coupling.value,
        "prebook.kind": envelope.kind.value,
        "prebook.attempt": envelope.attempt,
    }
