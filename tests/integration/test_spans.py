"""Spans of a running suite at a collector: complete, connected through outbox and broker, without rider data."""

import asyncio
from collections.abc import Iterator, Sequence
from uuid import uuid4

import msgspec
import pytest

from prebook.contracts.plan import Coupling
from tests.conftest import run_suite
from tests.integration.rider_client import uniform_plan
from tests.integration.span_collector import CollectedSpan, SpanCollector, collect_spans
from tests.integration.suite import Suite
from tests.integration.test_trace import RIDER, book

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
EXPORT_TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def collector() -> Iterator[SpanCollector]:
    with collect_spans() as collector:
        yield collector


@pytest.fixture(scope="module")
def traced_suite(collector: SpanCollector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    with run_suite(tmp_path_factory.mktemp("spans") / "home", {"PREBOOK_OTLP_URL": collector.url}) as suite:
        yield suite


@pytest.mark.parametrize("coupling", Coupling)
async def test_every_message_of_a_ride_has_its_spans(
    traced_suite: Suite, collector: SpanCollector, coupling: Coupling
) -> None:
    key = f"spans-{uuid4().hex}"
    await book(traced_suite, uniform_plan(coupling), key)
    command = traced_suite.prebook("trace", "--json", key)
    timeline = msgspec.json.decode(command.stdout)
    (trace_id,) = timeline["trace_ids"]
    handled = {(each["message_id"], each["receiver"]) for each in timeline["messages"] if each["state"] == "handled"}
    assert len(handled) > 10
    async with asyncio.timeout(EXPORT_TIMEOUT_S):
        while not handled <= processed(collector.of(trace_id)) or roots(collector.of(trace_id)) == []:
            await asyncio.sleep(0.2)
    spans = collector.of(trace_id)

    by_id = {span.id: span for span in spans}
    assert len(by_id) == len(spans), "no two spans have one id"
    assert all(span.start_ns <= span.end_ns for span in spans)
    for span in spans:
        if span.name.startswith("process "):
            sender = by_id[span.links[0] if coupling is Coupling.ONE_WAY or span.links else span.parent_id]
            assert sender.name == f"send {span.attributes['messaging.destination.name']}"
            assert (span.parent_id == "") == bool(span.links)
        elif span.name.startswith("send "):
            assert by_id[span.parent_id].name.startswith(("process ", "CreateBooking")), span.name
    (notice,) = [span for span in spans if span.name == "process notify_rider" and span.service == "notification"]
    assert {"CreateBooking", "send quote_fare", "process quote_fare", "send find_driver"} <= set(
        ancestors(notice, by_id)
    )
    assert not [body for body in collector.bodies if RIDER.encode() in body]


def processed(spans: Sequence[CollectedSpan]) -> set[tuple[object, str]]:
    found = [span for span in spans if span.name.startswith("process ")]
    return {(span.attributes["messaging.message.id"], span.service) for span in found}


def roots(spans: Sequence[CollectedSpan]) -> list[CollectedSpan]:
    return [span for span in spans if span.name == "CreateBooking"]


def ancestors(span: CollectedSpan, by_id: dict[str, CollectedSpan]) -> list[str]:
    """Return the names of the spans that led to this one, by parents and links."""
    names = []
    while causes := [each for each in (span.parent_id, *span.links) if each]:
        span = by_id[causes[0]]
        names.append(span.name)
    return names
