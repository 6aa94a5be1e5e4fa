"""A request that nobody waits for any more costs nothing downstream: no handler, no row, no partner is asked."""

from datetime import timedelta
from typing import Any

import pytest

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS, NOTIFY_RIDER
from prebook.messaging.clock import utc_now
from prebook.messaging.gateway import MessagingGateway, create_gateway
from prebook.messaging.handlers import HandlerContext, HandlerResult, Handlers, HandlerSpec
from prebook.messaging.policy import FlowPolicy
from prebook.messaging.unit_of_work import UnitsOfWork
from prebook.testing.memory import MemoryDatabase
from tests.booking.rides import queued
from tests.messaging.examples import request
from tests.messaging.expiring import Expiries

POLICIES = {flow: FlowPolicy(coupling=Coupling.ONE_WAY) for flow in FLOWS}


@pytest.mark.parametrize(("left_s", "handled"), [(60, True), (0, False), (-60, False)])
async def test_what_has_expired_is_dropped_at_the_door(left_s: int, *, handled: bool) -> None:
    database, watch, asked = MemoryDatabase(None), Expiries(), list[str]()

    async def consult(about: HandlerContext, body: Any) -> Any:
        asked.append(about.message_id)
        return body

    async def handle(_: HandlerContext, __: Any, ___: Any) -> HandlerResult:
        return HandlerResult()

    handlers: Handlers[Any] = Handlers(on_request={NOTIFY_RIDER: HandlerSpec(handle, consult)})
    lines = dict.fromkeys(Coupling, queued())
    units = UnitsOfWork.of_one(database.begin)
    gateway: MessagingGateway[Any] = create_gateway("notification", handlers, units, lines, POLICIES, observer=watch)
    await gateway.process(request(id="m1", expires_at=utc_now() + timedelta(seconds=left_s)))

    assert (bool(asked), bool(database.tables.inbox)) == (handled, handled)
    assert watch.expirations == ([] if handled else [("m1", "inbound")])
