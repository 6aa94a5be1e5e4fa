"""ServiceProcess: order in which a process stops its loops."""

import asyncio
import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest

from prebook.http.connections import Connections, HttpLimits
from prebook.http.server_protocol import BoundedHttpProtocol
from prebook.pricing.app import SERVICE as PRICING
from prebook.runtime import serve
from prebook.runtime.environment import EXIT_BAD_SETTINGS
from prebook.runtime.serve import ServiceProcess
from prebook.testing.configuration import make_policies, make_settings, with_call_secrets

LOOPS = (
    "deadlines",
    "poller",
    "reply_lookup",
    "consumer",
    "relay",
    "lease_release",
    "wakeup",
    "purge",
    "unsent_bodies",
    "loop_lag",
    "publisher",
)
DRAIN_TURNS = 5


async def do_nothing(*_: object) -> None:
    """Stop or close a part that has nothing to stop."""


async def test_the_relay_stops_before_its_session_and_its_publisher() -> None:
    ended: list[str] = []

    async def run_until_cancelled(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(DRAIN_TURNS * (name == "relay")):  # the relay drains before it ends
                await asyncio.sleep(0)
            ended.append(name)

    async def stop_transactions(_: float) -> None:
        ended.append("transactions")

    async def stop_calls(_: float) -> None:
        ended.append("calls")

    part: Any = SimpleNamespace(stop=do_nothing, close=do_nothing, dispose=do_nothing, loops={})
    process: Any = SimpleNamespace(consumer=part, http=part, engines=part, partition_loops={}, span_recorder=None)
    context = SimpleNamespace(tasks=SimpleNamespace(stop=stop_calls))
    process.assembled = SimpleNamespace(
        extensions=part, context=context, gateway=SimpleNamespace(stop=stop_transactions)
    )
    tasks = {name: asyncio.create_task(run_until_cancelled(name)) for name in LOOPS}
    await asyncio.sleep(0)
    await ServiceProcess._stop(process, tasks)
    assert sorted(ended) == sorted((*LOOPS, "calls", "transactions"))
    assert ended.index("calls") < ended.index("relay") < ended.index("transactions")
    assert ended.index("consumer") < ended.index("relay") < min(ended.index(name) for name in ("wakeup", "publisher"))


def test_a_service_is_served_with_limits_and_takes_no_address_from_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    configs: list[Any] = []

    def close_all(listeners: list[socket.socket]) -> None:
        for listener in listeners:
            listener.close()

    def make_server(config: Any) -> Any:
        configs.append(config)
        return SimpleNamespace(run=close_all, started=True)

    settings = SimpleNamespace(log_level="info", clock_skew_s=0.0, crash_dir="", crash_message_id="")
    settings.http_host = settings.internal_host = "127.0.0.1"
    settings.http_port = settings.internal_port = 0
    process = SimpleNamespace(app=do_nothing, connections=Connections(HttpLimits(max_connections=1)))
    monkeypatch.setattr(serve, "read_settings", lambda: (settings, {}))
    monkeypatch.setattr(serve, "ServiceProcess", lambda *_: process)
    monkeypatch.setattr("prebook.runtime.serve.uvicorn.Server", make_server)
    monkeypatch.setattr("prebook.runtime.serve.signal.signal", lambda *_: None)
    monkeypatch.setattr("prebook.runtime.serve.logging.configure", lambda *_: None)
    with pytest.raises(SystemExit):
        serve.main(cast("Any", SimpleNamespace(name="booking")))

    (config,) = configs
    assert config.proxy_headers is False
    assert (config.http.func, config.http.keywords) == (BoundedHttpProtocol, {"registry": process.connections})


def test_a_service_does_not_start_with_a_body_lifetime_that_is_too_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = with_call_secrets(make_settings(claim_check_lifetime_s=7 * 86_400.0), "pricing")
    monkeypatch.setattr(serve, "read_settings", lambda: (settings, make_policies()))
    with pytest.raises(SystemExit) as ended:
        serve.main(PRICING)
    assert ended.value.code == EXIT_BAD_SETTINGS
    refusal = capsys.readouterr().err
    assert refusal.startswith("pricing cannot start: wrong settings\nPREBOOK_CLAIM_CHECK_LIFETIME_S: 604800 s")
