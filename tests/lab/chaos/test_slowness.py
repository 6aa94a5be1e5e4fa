"""The slowness probe keeps readiness checks that were slow or got no response, and no others."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import pytest
from aiohttp import web

from prebook.lab.chaos.slowness import MACHINE, MAX_LOAD_PER_CORE, SlownessProbe
from prebook.lab.load.generator import open_session
from tests.lab.ledger.accounts_builder import START
from tests.lab.stub_suite import StubSuite, serve_stub


class UnreadySuite(StubSuite):
    """Stub that is never ready; ``delay_s``: seconds until it says so."""

    delay_s = 0.0

    async def check(self, _: web.Request) -> web.Response:
        await asyncio.sleep(self.delay_s)
        return web.Response(status=503)

    @property
    def routes(self) -> Mapping[tuple[str, str], Callable[[web.Request], Awaitable[web.StreamResponse]]]:
        return {**super().routes, ("GET", "/readyz"): self.check}


async def test_more_processes_than_the_cores_can_run_show_an_overloaded_machine() -> None:
    async with open_session() as session:
        probe = SlownessProbe(session, {})
        probe.record_load(2 * MAX_LOAD_PER_CORE, 2, START)
        assert not probe.slow
        probe.record_load(2 * MAX_LOAD_PER_CORE + 0.1, 2, START)
    (period,) = probe.slow
    assert (period.service, period.started_at) == (MACHINE, START)


async def test_slow_and_refused_checks_are_kept_and_quick_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebook.lab.chaos.slowness.SLOW_RESPONSE_S", 60.0)
    suite = UnreadySuite()
    async with serve_stub(suite), open_session() as session:
        probe = SlownessProbe(session, {})
        await probe.probe("pricing", suite.url)
        assert not probe.slow, "a status of 503 is a quick response"
        monkeypatch.setattr("prebook.lab.chaos.slowness.SLOW_RESPONSE_S", 0.1)
        suite.delay_s = 0.2
        await probe.probe("pricing", suite.url)
        await probe.probe("matching", "http://127.0.0.1:1")
    assert [period.service for period in probe.slow] == ["pricing", "matching"]
    assert all(period.started_at <= period.ended_at for period in probe.slow)
