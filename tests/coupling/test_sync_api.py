"""The synchronous coupling is no straw man: total timeout, retry budget, circuit breaker."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from prebook.contracts.message import Unavailable
from prebook.coupling.ports import HttpClient, HttpResponse
from prebook.coupling.reply_waiters import ReplyWaiters
from prebook.coupling.sync_api import MAX_ATTEMPTS, SyncApi
from prebook.messaging.codec import encode
from prebook.messaging.errors import Undeliverable, Unreachable
from tests.conditions import becomes
from tests.messaging.examples import NOW, request
from tests.world import policies

ANSWER = request().reply_with(Unavailable(reason="refused"), source="notification", at=NOW)


class Scripted(HttpClient):
    """Answers by a script: a response, an exception, or a wait of so many seconds."""

    def __init__(self, *script: HttpResponse | Exception | float) -> None:
        self.script, self.calls = list(script), 0

    async def request(
        self, method: str, service: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", timeout_s: float
    ) -> HttpResponse:
        self.calls += 1
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, float):
            await asyncio.sleep(min(step, timeout_s))
            raise Unreachable("timed out", reason="timeout")
        if isinstance(step, Exception):
            raise step
        return step


def good() -> HttpResponse:
    wire = encode(ANSWER)
    return HttpResponse(200, wire.headers, wire.body)


def status(code: int, **headers: str) -> HttpResponse:
    return HttpResponse(code, {name.replace("_", "-"): value for name, value in headers.items()}, b"{}")


def channel(http: HttpClient, *, timeout_s: float = 1.0, clock: Callable[[], float] = time.monotonic) -> SyncApi:
    return SyncApi(http, policies(timeout_s=timeout_s), ReplyWaiters(), clock=clock)


async def test_the_answer_is_the_response() -> None:
    assert await channel(Scripted(good())).send(request()) == ANSWER


@pytest.mark.parametrize("failure", [Unreachable("refused the connection"), status(503), status(429), status(500)])
async def test_what_may_pass_is_tried_again(failure: HttpResponse | Exception) -> None:
    http = Scripted(failure, good())

    assert await channel(http).send(request()) == ANSWER
    assert http.calls == 2


async def test_a_refusal_for_what_we_said_is_final() -> None:
    http = Scripted(status(422))

    with pytest.raises(Undeliverable):
        await channel(http).send(request())
    assert http.calls == 1


async def test_the_total_time_is_bounded_whatever_the_provider_does() -> None:
    began = time.monotonic()

    with pytest.raises(Unreachable):
        await channel(Scripted(60.0), timeout_s=0.3).send(request())
    assert time.monotonic() - began < 0.3 + 0.25


async def test_the_circuit_opens_and_says_when_to_come_back() -> None:
    http = Scripted(Unreachable("down"))
    sync = channel(http)
    for _ in range(5):
        with pytest.raises(Unreachable):
            await sync.send(request())
    calls = http.calls

    with pytest.raises(Unreachable) as failure:
        await sync.send(request())
    assert failure.value.reason == "circuit_open"
    assert http.calls == calls
    assert 0 < (sync.retry_after_s("notification") or 0) <= 1.0
    assert sync.retry_after_s("pricing") is None


async def test_a_provider_that_hangs_opens_the_circuit_before_the_first_caller_has_lost_patience() -> None:
    sync = channel(Scripted(60.0), timeout_s=0.4)
    calls = [asyncio.create_task(sync.send(request())) for _ in range(5)]
    await becomes(lambda: sync.retry_after_s("notification") is not None, within_s=0.39)
    assert not any(call.done() for call in calls)

    failures = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(failure, Unreachable) for failure in failures)


async def test_a_slow_answer_is_an_answer() -> None:
    class Slow(Scripted):
        async def request(self, *args: Any, **kwargs: Any) -> HttpResponse:
            await asyncio.sleep(0.17)
            return good()

    sync = channel(Slow(good()), timeout_s=0.2)
    for _ in range(6):
        assert await sync.send(request()) == ANSWER
    assert sync.retry_after_s("notification") is None


async def test_a_good_probe_closes_the_circuit() -> None:
    now = [0.0]
    http = Scripted(*[Unreachable("down")] * 5, good())
    sync = channel(http, clock=lambda: now[0])
    for _ in range(2):
        with pytest.raises(Unreachable):
            await sync.send(request())
    now[0] += 60.0

    assert await sync.send(request()) == ANSWER
    assert sync.retry_after_s("notification") is None


async def test_retries_do_not_become_the_load() -> None:
    """A provider that fails every call gets at most a tenth more than what was offered, beyond the saved burst."""
    now = [0.0]
    http = Scripted(status(500))
    sync = channel(http, clock=lambda: now[0])
    offered = 400
    for _ in range(offered):
        now[0] += 2.0  # past every cool-down, so that the breaker lets each first try through
        with pytest.raises(Unreachable):
            await sync.send(request())

    assert offered < http.calls <= offered * 1.1 + 10
    assert MAX_ATTEMPTS > 1


async def test_the_budget_alone_bounds_retries_where_the_circuit_stays_closed() -> None:
    """Every second call fails: never five in a row, so that nothing but the budget says no to a second try."""
    offered, saved = 60, 10
    turns: list[HttpResponse | Exception | float] = [Unreachable("lost", retry_after_s=0.001), good()]
    http = Scripted(*turns * offered)
    sync = channel(http)
    for _ in range(offered):
        with contextlib.suppress(Unreachable):
            await sync.send(request())

    assert offered < http.calls <= offered * 1.1 + saved
    assert sync.retry_after_s("notification") is None


async def test_a_late_answer_wakes_nobody_and_leaves_nothing() -> None:
    waiters = ReplyWaiters()
    with waiters.register(ANSWER.id) as waiting:
        waiters.resolve(ANSWER)
        assert await waiting == ANSWER
    waiters.resolve(replace(ANSWER))

    assert len(waiters) == 0
