"""Accepted requests whose handling ends the process: parked after their attempts, and their neighbours handled."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest

from prebook.contracts.matching import FindDriver, NoDriverFound
from prebook.contracts.plan import Coupling
from prebook.contracts.ride import Place, Stop, VehicleClass
from prebook.flows import FIND_DRIVER
from prebook.messaging.clock import utc_now
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Unreachable
from prebook.messaging.gateway import MessagingGateway, create_gateway
from prebook.messaging.handlers import HandlerContext, HandlerResult, Handlers, HandlerSpec
from prebook.messaging.observer import NullObserver
from prebook.messaging.outbox import sender
from prebook.messaging.outbox.relay import LEASE_S, Relay
from prebook.messaging.outbox.store import LOCAL_ROUTE
from prebook.messaging.unit_of_work import OutboxMessage, UnitsOfWork
from prebook.testing.configuration import make_policies
from prebook.testing.memory import MemoryDatabase
from tests.conditions import wait_until
from tests.messaging.examples import request
from tests.messaging.fake_channel import queued_channel

POISON = "poison"
ATTEMPTS = 4
POLICIES = make_policies(max_attempts=ATTEMPTS)
BODY = FindDriver(
    pickup=Stop(place=Place(lat=52.5, lon=13.4)),
    pickup_at=datetime.fromisoformat("2031-05-01T12:00:00Z"),
    ride_s=1260,
    vehicle_class=VehicleClass.STANDARD,
    passengers=1,
)


def accepted(conversation_id: str) -> Envelope:
    return request(conversation_id, id=f"{conversation_id}.find_driver", flow=FIND_DRIVER.name, body=BODY)


class Host:
    """Database of a service, and processes of it that are ended one after the other."""

    def __init__(self) -> None:
        self.time = utc_now()
        self.database = MemoryDatabase(None, lambda: self.time)
        self.handled = Counter[str]()
        self.dead_letters = list[tuple[str, str, int]]()
        self.ended = asyncio.Event()
        """Set where a real process would be gone."""
        self.is_database_away = False

    def start_gateway(self) -> MessagingGateway[Any]:
        handlers: Handlers[Any] = Handlers(on_request={FIND_DRIVER: HandlerSpec(self._find_driver)})
        units = UnitsOfWork[Any].of_one(self.database.begin)
        channels = dict.fromkeys(Coupling, queued_channel())
        return create_gateway("matching", handlers, units, channels, POLICIES, dead_letter=self._dead_letter)

    async def accept(self, *conversation_ids: str) -> None:
        rows = [OutboxMessage(accepted(each), LOCAL_ROUTE, each) for each in conversation_ids]
        async with self.database.begin() as work:
            await work.enqueue(rows)

    async def run_process(self) -> None:
        """Run a process until it is ended or nothing is left to do; a lease that it leaves runs out."""
        self.ended.clear()
        self.database.owner = f"relay {self.time}"
        gateway = self.start_gateway()
        running = asyncio.create_task(Relay(self.database, NullObserver()).run(gateway.dispatch))
        await wait_until(lambda: self.ended.is_set() or self.is_done, timeout_s=10.0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await gateway.stop(0.0)
        self.time += timedelta(seconds=LEASE_S + 1)

    @property
    def is_done(self) -> bool:
        return {str(row.state) for row in self.database.tables.outbox.values()} == {"sent"}

    async def _find_driver(self, context: HandlerContext, _: FindDriver, __: Any) -> HandlerResult:
        self.handled[context.conversation_id] += 1
        if self.is_database_away:
            raise Unreachable("the database is away")
        if context.conversation_id == POISON:
            self.ended.set()
            await asyncio.Event().wait()
        return HandlerResult(NoDriverFound(fleets_asked=0, reason="none"))

    async def _dead_letter(self, envelope: Envelope, cause: str, _: Exception) -> None:
        self.dead_letters.append((envelope.conversation_id, cause, envelope.attempt))


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(sender, "DRAIN_TIMEOUT_S", 0.0)
    return Host()


async def test_a_request_that_ends_its_process_is_parked_and_its_neighbours_are_handled(host: Host) -> None:
    neighbours = [f"neighbour-{number}" for number in range(20)]
    await host.accept(*neighbours[:10], POISON, *neighbours[10:])
    processes = 0
    while not host.is_done:
        processes += 1
        assert processes <= ATTEMPTS + 1, "it ends processes without limit"
        await host.run_process()
    assert host.dead_letters == [(POISON, "delivery_limit", ATTEMPTS)]
    assert host.handled[POISON] < ATTEMPTS, "the first attempt was made by the process that accepted it"
    assert set(host.handled) == {POISON, *neighbours}


async def test_an_outage_uses_up_no_attempt(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "_retry_delay_s", lambda *_: 0.0)
    host.is_database_away = True
    await host.accept("b1")
    gateway = host.start_gateway()
    running = asyncio.create_task(Relay(host.database, NullObserver()).run(gateway.dispatch))
    await wait_until(lambda: host.handled["b1"] > 3 * ATTEMPTS, timeout_s=20.0)
    host.is_database_away = False
    await wait_until(lambda: host.is_done, timeout_s=10.0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert host.dead_letters == []
