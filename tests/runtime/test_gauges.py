"""Gauges of a service process."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry, Gauge

from prebook.contracts.plan import Coupling
from prebook.coupling.reply_waiters import ReplyWaiters
from prebook.coupling.sync_api import SyncApi
from prebook.messaging.errors import Unreachable
from prebook.postgres.engine import create_engine
from prebook.postgres.outbox import SqlOutbox
from prebook.runtime import gauges
from prebook.runtime.gauges import ProcessGauges, ProcessMetrics, provider_circuit_states, refresh_all
from prebook.testing.configuration import make_policies
from tests.coupling.test_sync_api import ScriptedHttp
from tests.messaging.examples import request


async def test_an_open_circuit_is_reported_for_its_provider() -> None:
    sync = SyncApi(ScriptedHttp(Unreachable("down")), make_policies(), ReplyWaiters())
    read_states = provider_circuit_states("booking", {Coupling.SYNC_API: sync})
    assert read_states() == {"matching": False, "notification": False, "pricing": False}
    for _ in range(5):
        try:
            await sync.send(request())
        except Unreachable:
            continue
    assert read_states() == {"matching": False, "notification": True, "pricing": False}


@pytest.fixture
def stale() -> Gauge:
    return Gauge("stale", "Whether gauges are stale.", registry=CollectorRegistry())


async def test_a_database_that_is_away_leaves_all_other_gauges_fresh(stale: Gauge) -> None:
    refreshed = []

    async def fail() -> None:
        raise Unreachable("the database is away")

    async def refresh() -> None:
        refreshed.append(1)

    await refresh_all((fail, refresh), stale)
    assert (refreshed, stale._value.get()) == ([1], 1)
    await refresh_all((refresh,), stale)
    assert (refreshed, stale._value.get()) == ([1, 1], 0)


async def test_a_silent_database_does_not_hold_up_a_scrape(stale: Gauge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "REFRESH_TIMEOUT_S", 0.01)
    await refresh_all((asyncio.Event().wait,), stale)
    assert stale._value.get() == 1


async def test_the_depth_of_an_outbox_without_a_database_is_such_a_failure(stale: Gauge) -> None:
    engine = create_engine("pricing", "postgresql+asyncpg://nobody@127.0.0.1:1/none")
    process_gauges = ProcessGauges(
        ProcessMetrics(CollectorRegistry()), SqlOutbox(engine, "test"), engine, {}, lambda: {"pricing": True}
    )
    await refresh_all((process_gauges.refresh,), stale)
    assert stale._value.get() == 1
    await engine.dispose()
