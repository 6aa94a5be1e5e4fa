"""Handler tables: a service handles exactly the messages that the catalogue of flows gives it, or does not start."""

from dataclasses import replace
from typing import Any

import pytest

from prebook.flows import ASK_FLEET, BOOKING_ENDED, FIND_DRIVER, MATCHING, OFFER_SETTLED, QUOTE_FARE
from prebook.messaging.handlers import HandlerContext, HandlerResult, Handlers, HandlerSpec, handler_problems
from prebook.postgres.unit_of_work import SqlUnitOfWork
from prebook.runtime.service import Service


async def handle(_: HandlerContext, __: Any, ___: Any) -> HandlerResult:
    return HandlerResult()


UNUSED: Any = None
SPEC: HandlerSpec[Any] = HandlerSpec(handle)
COMPLETE: Handlers[Any] = Handlers(
    on_request={FIND_DRIVER: SPEC}, on_reply={ASK_FLEET: SPEC}, on_event={BOOKING_ENDED: SPEC}
)


def test_a_complete_table_has_no_problem() -> None:
    assert handler_problems(MATCHING, COMPLETE) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"on_request": {}}, "matching has no handler for the request find_driver: add it to on_request"),
        ({"on_reply": {}}, "matching has no handler for the reply ask_fleet: add it to on_reply"),
        ({"on_event": {}}, "matching has no handler for the event booking_ended: add it to on_event"),
        ({"on_request": {FIND_DRIVER: SPEC, QUOTE_FARE: SPEC}}, "matching never gets the request quote_fare"),
        ({"on_reply": {ASK_FLEET: SPEC, FIND_DRIVER: SPEC}}, "matching never gets the reply find_driver"),
        ({"on_event": {BOOKING_ENDED: SPEC, OFFER_SETTLED: SPEC}}, "matching never gets the event offer_settled"),
    ],
)
def test_a_service_with_another_table_does_not_start(changes: Any, problem: str) -> None:
    service: Service[Any] = Service(MATCHING, lambda _: replace(COMPLETE, **changes), SqlUnitOfWork)
    with pytest.raises(ValueError, match=problem):
        service.handler_table(UNUSED, UNUSED)


def test_all_problems_are_reported_at_once() -> None:
    assert len(handler_problems(MATCHING, replace(COMPLETE, on_request={QUOTE_FARE: SPEC}))) == 2
