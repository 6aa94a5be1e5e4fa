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
from prebook.lab.bench.workload import moments

WARM, COUNT, RATE_PER_S = 40, 1_000, 200
LOOK_EVERY_S, DRAINED_WITHIN_S = 0.05, 20.0
LEFT = "SELECT EXISTS (SELECT FROM yardstick.outbox WHERE sent_at IS NULL)"


async def at_their_times(commit: Callable[[int], Awaitable[object]], left: Callable[[], Awaitable[bool]]) -> None:
    """``commit`` is given numbers, negative ones while it warms up; ``left``: something is not sent yet.

    Prints, as JSON, when each was committed: number -> seconds of the monotonic clock, which all processes share.
    """
    committed: dict[int, float] = {}
    async for number in moments(range(-WARM, COUNT), RATE_PER_S):
        await commit(number)
        if number >= 0:
            committed[number] = time.perf_counter()
    async with asyncio.timeout(DRAINED_WITHIN_S):
        while await left():  # noqa: ASYNC110 - what is waited for happens in the database
            await asyncio.sleep(LOOK_EVERY_S)
    print(json.dumps(committed), flush=True)  # noqa: T201 - for the process that started us


async def by_hand(dsn: str, amqp_url: str) -> None:
    connection, woken = await asyncpg.connect(dsn), asyncio.Event()
    stage = await connection.prepare(relay.STAGE)
    relaying = asyncio.create_task(relay.relay(dsn, amqp_url, woken))

    async def commit(number: int) -> None:
        await stage.fetch(f"k{number}", "asked", json.dumps({"seq": number, "ride": "x" * 150}))
        woken.set()

    async def left() -> bool:
        return bool(await connection.fetchval(LEFT))

    await at_their_times(commit, left)
    relaying.cancel()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit("usage: python -m loadtest.bench.yardsticks.committing, with BENCH_DSN and BENCH_AMQP_URL set")
    uvloop.run(by_hand(os.environ["BENCH_DSN"], os.environ["BENCH_AMQP_URL"]))
