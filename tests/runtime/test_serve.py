"""ServiceProcess: order in which a process stops its loops."""

import asyncio
from types import SimpleNamespace
from typing import Any

from prebook.runtime.serve import ServiceProcess

LOOPS = ("deadlines", "poller", "consumer", "relay", "lease_release", "wakeup", "purge", "loop_lag", "publisher")
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
    process: Any = SimpleNamespace(consumer=part, http=part, engines=part, partition_loops={})
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
