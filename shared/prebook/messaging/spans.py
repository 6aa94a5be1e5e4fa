"""Spans of a message, named so that sender and receiver know them without asking each other.

A request or event is sent in the span that its ``traceparent`` names. A reply has the ``traceparent`` of its request:
its span is derived from its own id. The span in which a message is handled is derived from message, receiver and
attempt.

Source: OpenTelemetry, semantic conventions for messaging spans.
"""

from dataclasses import replace

from prebook.contracts.plan import Coupling
from prebook.messaging.envelope import Envelope, MessageKind
from prebook.messaging.headers import PARENT_SPAN_HEADER
from prebook.patterns.trace import TraceContext, derive_span_id, span_id


def sending_span(envelope: Envelope) -> str:
    """Return the id of the span in which the message is sent; for a reply in a response, that of the call."""
    own = span_id(envelope.trace.traceparent)
    if envelope.kind is not MessageKind.REPLY or envelope.coupling is Coupling.SYNC_API:
        return own
    return derive_span_id(own, envelope.id, "send")


def handling_span(envelope: Envelope, service: str) -> str:
    """Return the id of the span in which ``service`` handles this attempt of the message."""
    return derive_span_id(span_id(envelope.trace.traceparent), envelope.id, service, str(envelope.attempt))


def parent_span(envelope: Envelope) -> str:
    """Return the id of the span in which the message was created; empty if its sender exports none."""
    return envelope.extra.get(PARENT_SPAN_HEADER, "")


def handling_context(envelope: Envelope, service: str) -> TraceContext:
    """Return the trace context of what the handling of this message causes."""
    return envelope.trace.at_span(handling_span(envelope, service))


def created_in(envelope: Envelope, context: TraceContext) -> Envelope:
    """Return a new message that names the span in which it was created."""
    extra = {**envelope.extra, PARENT_SPAN_HEADER: span_id(context.traceparent)}
    return replace(envelope, extra=extra)
