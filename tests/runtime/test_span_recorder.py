"""Spans of messages: ids, parents, links, kinds and times, as they are exported."""

import time
from collections.abc import Callable, Sequence
from functools import partial

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.messaging.envelope import Envelope, MessageKind
from prebook.messaging.spans import created_in, handling_context, handling_span, sending_span
from prebook.messaging.staging import MessageContext
from prebook.patterns.trace import TraceContext, span_id, trace_id
from prebook.runtime.span_recorder import SpanRecorder
from tests.messaging.examples import NOW, PLAN, request


def export(service: str, record: Callable[[SpanRecorder], None]) -> Sequence[ReadableSpan]:
    """Return the spans that a service exports."""
    exporter = InMemorySpanExporter()
    recorder = SpanRecorder(service, exporter)
    record(recorder)
    recorder.close()
    return list(exporter.get_finished_spans())


def send(recorder: SpanRecorder, message: Envelope) -> None:
    recorder.on_sent(message, 0.1)


def handle(recorder: SpanRecorder, message: Envelope) -> None:
    recorder.on_handled(message, 0.1)


def by(coupling: Coupling) -> Envelope:
    return request(plan=dict.fromkeys(FLOWS, coupling))


def id_of(span: ReadableSpan) -> str:
    return f"{span.context.span_id:016x}"


def parent_of(span: ReadableSpan) -> str:
    return f"{span.parent.span_id:016x}" if span.parent else ""


def links_of(span: ReadableSpan) -> list[str]:
    return [f"{link.context.span_id:016x}" for link in span.links]


def test_a_message_is_sent_in_its_own_span_inside_of_the_one_that_created_it() -> None:
    cause = TraceContext().child()
    message = created_in(request(trace=cause.child()), cause)
    (span,) = export("booking", lambda recorder: recorder.on_sent(message, 0.25))
    assert (id_of(span), parent_of(span)) == (span_id(message.trace.traceparent), span_id(cause.traceparent))
    assert f"{span.context.trace_id:032x}" == trace_id(cause.traceparent)
    assert (span.name, span.kind) == ("send notify_rider", SpanKind.PRODUCER)
    start_ns, end_ns = span.start_time or 0, span.end_time or 0
    assert end_ns - start_ns == 250_000_000
    assert abs(end_ns - time.time_ns()) < 60_000_000_000
    assert span.resource.attributes["service.name"] == "booking"
    assert dict(span.attributes or {}) == {
        "messaging.system": "rabbitmq",
        "messaging.operation.type": "send",
        "messaging.operation.name": "send",
        "messaging.destination.name": "notify_rider",
        "messaging.message.id": message.id,
        "messaging.message.conversation_id": "b1",
        "prebook.coupling": "one_way",
        "prebook.kind": "request",
        "prebook.attempt": 1,
    }


def test_the_receiver_of_a_request_is_a_child_and_that_of_a_one_way_message_has_a_link() -> None:
    for coupling in Coupling:
        message = by(coupling)
        (span,) = export("notification", partial(handle, message=message))
        expected = ("", [sending_span(message)]) if coupling is Coupling.ONE_WAY else (sending_span(message), [])
        assert (parent_of(span), links_of(span)) == expected
        assert id_of(span) == handling_span(message, "notification")
        assert span.kind is (SpanKind.SERVER if coupling is Coupling.SYNC_API else SpanKind.CONSUMER)


def test_a_reply_is_sent_inside_of_the_handling_and_received_as_its_child() -> None:
    message = by(Coupling.REQUEST_REPLY)
    handling = handling_context(message, "notification")
    reply = created_in(message.reply_with(message.body, source="notification", at=NOW), handling)
    (sent,) = export("notification", lambda recorder: recorder.on_sent(reply, 0.1))
    (received,) = export("booking", lambda recorder: recorder.on_handled(reply, 0.1))
    assert parent_of(sent) == handling_span(message, "notification")
    assert id_of(sent) != span_id(message.trace.traceparent)
    assert parent_of(received) == id_of(sent)


def test_a_reply_in_a_response_is_received_inside_of_the_call() -> None:
    message = by(Coupling.SYNC_API)
    reply = message.reply_with(message.body, source="notification", at=NOW)
    (call,) = export("booking", lambda recorder: recorder.on_sent(message, 0.1))
    (received,) = export("booking", lambda recorder: recorder.on_handled(reply, 0.1))
    assert (call.kind, parent_of(received)) == (SpanKind.CLIENT, id_of(call))


def test_a_synthetic_reply_belongs_to_its_request() -> None:
    message = by(Coupling.REQUEST_REPLY)
    reply = message.reply_with(message.body, source="booking", at=NOW)
    (received,) = export("booking", lambda recorder: recorder.on_handled(reply, 0.1))
    assert parent_of(received) == sending_span(message)


def test_a_failure_is_a_span_with_its_error_and_each_attempt_has_its_own() -> None:
    def fail(recorder: SpanRecorder) -> None:
        recorder.on_send_failed(message, ConnectionError("refused"))
        recorder.on_sent(message, 0.1)
        recorder.on_handling_failed(message, ValueError("unknown rider: 'rosa'"))
        recorder.on_handled(message.next_attempt(), 0.1)

    message = by(Coupling.REQUEST_REPLY)
    spans = export("notification", fail)
    assert len({id_of(span) for span in spans}) == 4
    assert [span.status.status_code for span in spans] == [StatusCode.ERROR, StatusCode.UNSET] * 2
    assert spans[2].status.description == "ValueError: unknown rider: ..."
    assert (spans[2].events[0].attributes or {})["exception.message"] == "ValueError: unknown rider: ..."


def test_a_command_is_a_span_by_itself() -> None:
    context = MessageContext("b1", PLAN, TraceContext().child(), NOW)
    (span,) = export("booking", lambda recorder: recorder.on_executed("CreateBooking", context, 1.0))
    assert (span.name, span.kind, id_of(span)) == ("CreateBooking", SpanKind.SERVER, span_id(context.trace.traceparent))


def test_a_trace_that_is_not_sampled_or_absent_has_no_spans() -> None:
    unsampled = TraceContext(f"00-{'1' * 32}-{'2' * 16}-00")
    for trace in (unsampled, TraceContext()):
        message = request(trace=trace)
        assert export("booking", partial(send, message=message)) == []
        assert export("booking", partial(handle, message=message)) == []


def test_no_span_holds_the_body_of_a_message() -> None:
    (span,) = export("notification", lambda recorder: recorder.on_handled(request(), 0.5))
    assert "rosa" not in span.to_json()
    assert "see you at eight" not in span.to_json()


def test_events_are_linked_too() -> None:
    event = request(kind=MessageKind.EVENT, plan=dict.fromkeys(FLOWS, Coupling.SYNC_API))
    (span,) = export("notification", lambda recorder: recorder.on_handled(event, 0.1))
    assert (parent_of(span), links_of(span)) == ("", [sending_span(event)])
