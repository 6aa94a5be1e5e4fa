"""Hand-written process that commits at a fixed rate and sends by its own relay; also the open loop of both sides.

The relay runs in the same process and is woken by an event, without a NOTIFY.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable

import asyncpg
import uvloop

from prebook.lab.bench.baselines import relay
from prebook.lab.bench.workload import open_loop

WARMUP_COMMITS = 40
COMMITS = 1_000
RATE_PER_S = 200
POLL_INTERVAL_S = 0.05
DRAIN_TIMEOUT_S = 20.0
SELECT_UNSENT = "SELECT EXISTS (SELECT FROM baseline.outbox WHERE sent_at IS NULL)"


async def commit_at_rate(commit: Callable[[int], Awaitable[object]], has_unsent: Callable[[], Awaitable[bool]]) -> None:
    """Call ``commit`` with consecutive numbers at RATE_PER_S, wait until all is sent, and print the commit times.

    Numbers below 0 are the warm-up. ``has_unsent``: returns whether a message is still unsent. The output is a JSON
    object of commit times by number, in seconds of the monotonic clock that all processes of the machine share.

    Raises:
        TimeoutError: A message is still unsent DRAIN_TIMEOUT_S seconds after the last commit.
    """
    committed: dict[int, float] = {}
    async for number in open_loop(range(-WARMUP_COMMITS, COMMITS), RATE_PER_S):
        await commit(number)
        if number >= 0:
            committed[number] = time.perf_counter()
    async with asyncio.timeout(DRAIN_TIMEOUT_S):
        while await has_unsent():  # noqa: ASYNC110 - the condition is a row in the database
            await asyncio.sleep(POLL_INTERVAL_S)
    print(json.dumps(committed), flush=True)  # noqa: T201 - read by the parent process


async def commit_and_relay(dsn: str, amqp_url: str) -> None:
    """Commit at a fixed rate while the hand-written relay runs, and print the commit times."""
    connection = await asyncpg.connect(dsn)
    wakeup = asyncio.Event()
    insert = await connection.prepare(relay.INSERT_MESSAGE)
    relay_task = asyncio.create_task(relay.run_relay(dsn, amqp_url, wakeup))

    async def commit(number: int) -> None:
        await insert.fetch(f"k{number}", "requested", json.dumps({"seq": number, "ride": "x" * 150}))
        wakeup.set()

    async def has_unsent() -> bool:
        return bool(await connection.fetchval(SELECT_UNSENT))

    await commit_at_rate(commit, has_unsent)
    relay_task.cancel()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit("usage: python -m prebook.lab.bench.baselines.outbox_writer, with BENCH_DSN and BENCH_AMQP_URL set")
    uvloop.run(commit_and_relay(os.environ["BENCH_DSN"], os.environ["BENCH_AMQP_URL"]))
