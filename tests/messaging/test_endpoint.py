"""Endpoint: an expired request causes no work downstream, neither a handler call nor an inbox row."""

from datetime import timedelta
from typing import Any

import pytest

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS, NOTIFICATION, NOTIFY_RIDER
from prebook.messaging import crash_points
from prebook.messaging.clock import utc_now
from prebook.messaging.crash_points import CrashPoint
from prebook.messaging.handlers import HandlerContext, HandlerResult, Handlers, HandlerSpec
from prebook.messaging.policy import FlowPolicy
from prebook.postgres.unit_of_work import SqlUnitOfWork
from prebook.runtime.service import Service
from prebook.testing.memory import MemoryDatabase
from prebook.testing.single import assemble_alone
from tests.messaging.examples import ExpiryRecorder, request

POLICIES = {flow: FlowPolicy(coupling=Coupling.ONE_WAY) for flow in FLOWS}


@pytest.mark.parametrize(("remaining_s", "handled"), [(60, True), (0, False), (-60, False)])
async def test_an_expired_request_is_dropped_before_the_handler(remaining_s: int, *, handled: bool) -> None:
    database = MemoryDatabase(None)
    recorder = ExpiryRecorder()
    prepared = list[str]()

    async def prepare(context: HandlerContext, body: Any) -> Any:
        prepared.append(context.message_id)
        return body

    async def handle(_context: HandlerContext, _body: Any, _work: Any) -> HandlerResult:
        return HandlerResult()

    handlers: Handlers[Any] = Handlers(on_request={NOTIFY_RIDER: HandlerSpec(handle, prepare)})
    service: Service[Any] = Service(NOTIFICATION, lambda _: handlers, SqlUnitOfWork)
    gateway = assemble_alone(service, database.begin, observer=recorder).gateway
    await gateway.process(request(id="m1", expires_at=utc_now() + timedelta(seconds=remaining_s)))

    assert (bool(prepared), bool(database.tables.inbox)) == (handled, handled)
    assert recorder.expirations == ([] if handled else [("m1", "inbound")])


async def test_the_crash_point_of_a_received_message_knows_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    reached = list[tuple[CrashPoint, str]]()
    monkeypatch.setattr(crash_points, "_armed", ())
    crash_points.arm(lambda point, message_id: reached.append((point, message_id)))

    async def handle(_context: HandlerContext, _body: Any, _work: Any) -> HandlerResult:
        return HandlerResult()

    handlers: Handlers[Any] = Handlers(on_request={NOTIFY_RIDER: HandlerSpec(handle)})
    service: Service[Any] = Service(NOTIFICATION, lambda _: handlers, SqlUnitOfWork)
    gateway = assemble_alone(service, MemoryDatabase(None).begin).gateway
    await gateway.process(request(id="m1"))
    assert (CrashPoint.RECEIVED, "m1") in reached
