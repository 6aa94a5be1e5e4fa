"""How every side of "commit to broker" commits: each at its time, however long the one before took; and, by hand, into
the outbox of a relay that runs in the same process and is woken without a NOTIFY.
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
    """``commit`` is given numbers, negative ones while it warms up; ``has_unsent``: whether something is not sent yet.

    Prints, as JSON, when each was committed: number -> seconds of the monotonic clock, which all processes share.
    """
    committed: dict[int, float] = {}
    async for number in open_loop(range(-WARMUP_COMMITS, COMMITS), RATE_PER_S):
        await commit(number)
        if number >= 0:
            committed[number] = time.perf_counter()
    async with asyncio.timeout(DRAIN_TIMEOUT_S):
        while await has_unsent():  # noqa: ASYNC110 - what is waited for happens in the database
            await asyncio.sleep(POLL_INTERVAL_S)
    print(json.dumps(committed), flush=True)  # noqa: T201 - for the process that started us


async def commit_and_relay(dsn: str, amqp_url: str) -> None:
    connection = await asyncpg.connect(dsn)
    woken = asyncio.Event()
    stage = await connection.prepare(relay.INSERT_MESSAGE)
    relaying = asyncio.create_task(relay.run_relay(dsn, amqp_url, woken))

    async def commit(number: int) -> None:
        await stage.fetch(f"k{number}", "asked", json.dumps({"seq": number, "ride": "x" * 150}))
        woken.set()

    async def has_unsent() -> bool:
        return bool(await connection.fetchval(SELECT_UNSENT))

    await commit_at_rate(commit, has_unsent)
    relaying.cancel()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit("usage: python -m prebook.lab.bench.baselines.outbox_writer, with BENCH_DSN and BENCH_AMQP_URL set")
    uvloop.run(commit_and_relay(os.environ["BENCH_DSN"], os.environ["BENCH_AMQP_URL"]))
