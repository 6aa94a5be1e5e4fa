"""In which order a process ends what it runs."""

import asyncio
from types import SimpleNamespace
from typing import Any

from prebook.runtime.serve import ServiceProcess

LOOPS = ("deadlines", "poller", "consumer", "relay", "lease_release", "wakeup", "purge", "loop_lag", "publisher")
TURNS = 5


async def done() -> None:
    """What is asked of a part that has nothing to end."""


async def test_the_session_of_a_relay_outlives_it_and_so_does_what_it_publishes_by() -> None:
    ended: list[str] = []

    async def runs(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(TURNS * (name == "relay")):  # what is under way is still sent
                await asyncio.sleep(0)
            ended.append(name)

    part: Any = SimpleNamespace(stop=done, close=done, dispose=done, loops={})
    process: Any = SimpleNamespace(consumer=part, http=part, engines=part, partition_loops={})
    process.assembled = SimpleNamespace(edge=part)
    tasks = {name: asyncio.create_task(runs(name)) for name in LOOPS}
    await asyncio.sleep(0)
    await ServiceProcess._stop(process, tasks)
    assert sorted(ended) == sorted(LOOPS)
    assert ended.index("consumer") < ended.index("relay") < min(ended.index(name) for name in ("wakeup", "publisher"))
