"""SyncApi: total timeout, retry budget and circuit breaker."""

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
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Undeliverable, Unreachable
from prebook.testing.configuration import make_policies
from tests.conditions import wait_until
from tests.messaging.examples import NOW, request

REPLY = request().reply_with(Unavailable(reason="refused"), source="notification", at=NOW)


class ScriptedHttp(HttpClient):
    """HTTP client with scripted results: a response, an exception, or a delay in seconds before a timeout.

    The last result repeats.
    """

    def __init__(self, *script: HttpResponse | Exception | float) -> None:
        self.script = list(script)
        self.calls = 0

    async def request(
        self, method: str, service: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", timeout_s: float
    ) -> HttpResponse:
        self.calls += 1
        result = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(result, float):
            await asyncio.sleep(min(result, timeout_s))
            raise Unreachable("timed out", reason="timeout")
        if isinstance(result, Exception):
            raise result
        return result


def success() -> HttpResponse:
    message = encode(REPLY)
    return HttpResponse(200, message.headers, message.body)


def status(code: int, **headers: str) -> HttpResponse:
    return HttpResponse(code, {name.replace("_", "-"): value for name, value in headers.items()}, b"{}")


def channel(http: HttpClient, *, timeout_s: float = 1.0, clock: Callable[[], float] = time.monotonic) -> SyncApi:
    return SyncApi(http, make_policies(timeout_s=timeout_s), ReplyWaiters(), clock=clock)


async def test_the_response_is_the_reply() -> None:
    assert await channel(ScriptedHttp(success())).send(request()) == REPLY


@pytest.mark.parametrize("failure", [Unreachable("refused the connection"), status(503), status(429), status(500)])
async def test_a_temporary_failure_is_retried(failure: HttpResponse | Exception) -> None:
    http = ScriptedHttp(failure, success())

    assert await channel(http).send(request()) == REPLY
    assert http.calls == 2


async def test_a_client_error_is_not_retried() -> None:
    http = ScriptedHttp(status(422))

    with pytest.raises(Undeliverable):
        await channel(http).send(request())
    assert http.calls == 1


async def test_the_total_time_of_a_call_is_bounded() -> None:
    http = ScriptedHttp(60.0)
    async with asyncio.timeout(30):
        with pytest.raises(Unreachable):
            await channel(http, timeout_s=0.3).send(request())
    assert http.calls == 1, "a call that takes all of the time leaves none for a retry"


async def test_an_open_circuit_reports_when_to_retry() -> None:
    http = ScriptedHttp(Unreachable("down"))
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


async def test_a_hanging_provider_opens_the_circuit_before_the_first_timeout() -> None:
    sync = channel(ScriptedHttp(60.0), timeout_s=0.4)
    calls = [asyncio.create_task(sync.send(request())) for _ in range(5)]
    await wait_until(lambda: sync.retry_after_s("notification") is not None, timeout_s=0.39)
    assert not any(call.done() for call in calls)

    failures = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(failure, Unreachable) for failure in failures)


async def test_a_slow_reply_does_not_open_the_circuit() -> None:
    class Slow(ScriptedHttp):
        async def request(self, *args: Any, **kwargs: Any) -> HttpResponse:
            await asyncio.sleep(0.17)
            return success()

    sync = channel(Slow(success()), timeout_s=0.2)
    for _ in range(6):
        assert await sync.send(request()) == REPLY
    assert sync.retry_after_s("notification") is None


async def test_a_successful_probe_closes_the_circuit() -> None:
    now = [0.0]
    http = ScriptedHttp(*[Unreachable("down")] * 5, success())
    sync = channel(http, clock=lambda: now[0])
    for _ in range(2):
        with pytest.raises(Unreachable):
            await sync.send(request())
    now[0] += 60.0

    assert await sync.send(request()) == REPLY
    assert sync.retry_after_s("notification") is None


class Recovering(ScriptedHttp):
    """HTTP client of a provider that is down at first, and whose further responses are given by ``recover``."""

    def __init__(self, *, failures: int) -> None:
        super().__init__(*[Unreachable("down")] * failures, success())
        self.result: asyncio.Future[HttpResponse] = asyncio.get_running_loop().create_future()
        self.failures = failures

    async def request(self, *args: Any, **kwargs: Any) -> HttpResponse:
        response = await super().request(*args, **kwargs)
        return await self.result if self.calls == self.failures + 1 else response


async def started_calls(http: Recovering, now: list[float]) -> list[asyncio.Task[Envelope | None]]:
    """Open the circuit, let it cool down, and start three calls at once; the first one is the probe."""
    sync = channel(http, timeout_s=20.0, clock=lambda: now[0])
    while http.calls < http.failures:
        with pytest.raises(Unreachable):
            await sync.send(request())
    now[0] += 60.0
    calls = [asyncio.create_task(sync.send(request())) for _ in range(3)]
    await wait_until(lambda: http.calls == http.failures + 1)
    return calls


async def test_calls_beside_a_probe_go_on_once_it_has_succeeded() -> None:
    http = Recovering(failures=5)
    calls = await started_calls(http, [0.0])
    assert not any(call.done() for call in calls)
    http.result.set_result(success())
    assert await asyncio.gather(*calls) == [REPLY] * 3


async def test_calls_beside_a_probe_that_fails_are_refused_and_do_not_reach_the_provider() -> None:
    http = Recovering(failures=5)
    calls = await started_calls(http, [0.0])
    http.result.set_exception(Unreachable("down", reason="refused"))
    failures = await asyncio.gather(*calls, return_exceptions=True)
    assert [failure.reason for failure in failures if isinstance(failure, Unreachable)] == [
        "refused",
        "circuit_open",
        "circuit_open",
    ]
    assert http.calls == 6


async def test_calls_beside_a_probe_that_hangs_are_refused_after_another_cool_down() -> None:
    http = Recovering(failures=5)
    probe, *others = await started_calls(http, [0.0])
    async with asyncio.timeout(30):
        failures = await asyncio.gather(*others, return_exceptions=True)
    assert [failure.reason for failure in failures if isinstance(failure, Unreachable)] == ["circuit_open"] * 2
    assert not probe.done()
    http.result.set_result(success())
    assert await probe == REPLY


async def test_retries_are_at_most_a_tenth_of_the_requests() -> None:
    """A provider that fails every call gets at most a tenth more calls than requests, beyond the saved retries."""
    now = [0.0]
    http = ScriptedHttp(status(500))
    sync = channel(http, clock=lambda: now[0])
    offered = 400
    for _ in range(offered):
        now[0] += 2.0  # longer than every cool-down, so that the breaker lets each first attempt pass
        with pytest.raises(Unreachable):
            await sync.send(request())

    assert offered < http.calls <= offered * 1.1 + 10
    assert MAX_ATTEMPTS > 1


async def test_the_budget_bounds_retries_while_the_circuit_stays_closed() -> None:
    """Every second call fails, so that five consecutive failures never open the circuit."""
    offered = 60
    saved = 10
    results: list[HttpResponse | Exception | float] = [Unreachable("lost", retry_after_s=0.001), success()]
    http = ScriptedHttp(*results * offered)
    sync = channel(http)
    for _ in range(offered):
        with contextlib.suppress(Unreachable):
            await sync.send(request())

    assert offered < http.calls <= offered * 1.1 + saved
    assert sync.retry_after_s("notification") is None


async def test_a_late_reply_leaves_no_waiter_behind() -> None:
    waiters = ReplyWaiters()
    with waiters.register(REPLY.id) as future:
        waiters.resolve(REPLY)
        assert await future == REPLY
    waiters.resolve(replace(REPLY))

    assert len(waiters) == 0
