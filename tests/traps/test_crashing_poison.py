"""A message that kills its process, in real processes: it alone is parked, and all others are handled."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika
import httpx
import pytest
from aio_pika.abc import AbstractChannel, AbstractQueue

from prebook.lab.experiments.forked import start_forked, wait_for_exit
from prebook.messaging import addresses
from prebook.messaging.codec import encode
from prebook.messaging.recoverability.dead_letter import DELIVERY_LIMIT
from prebook.runtime.loops import cancel_and_wait
from tests.conditions import poll_until
from tests.integration.broker_probe import BrokerProbe
from tests.integration.suite import Suite
from tests.messaging.examples import request
from tests.traps import crashing_worker
from tests.traps.crashing_worker import POISON, CrashingSpec, effect_path

pytestmark = pytest.mark.real
NEIGHBOURS = 39


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.long)])
async def test_a_message_that_kills_its_process_is_parked_alone(
    processes: int, suite: Suite, broker: BrokerProbe, operations: httpx.AsyncClient, tmp_path: Path
) -> None:
    """40 messages on one queue and 20 on another of the same processes; one of the 40 kills its process."""
    run = uuid4().hex[:8]
    poison = f"{POISON}-{run}"
    neighbours = [f"neighbour-{run}-{number}" for number in range(NEIGHBOURS)]
    others = [f"other-{run}-{number}" for number in range(20)]
    async with _limited_queues(suite, "crashing", "others") as (channel, crashing, other):
        await _publish(channel, crashing, [*neighbours[:10], poison, *neighbours[10:]])
        await _publish(channel, other, others)
        spec = CrashingSpec(suite.state.amqp_url, (crashing.name, other.name), str(tmp_path))
        crashes: list[CrashingSpec] = []
        workers = [asyncio.create_task(_restart_worker(spec, crashes)) for _ in range(processes)]
        try:
            await poll_until(lambda: _is_parked(operations, poison), 100.0)
            (parked,) = await broker.collect_parked(1)
            expected = {effect_path(tmp_path, name) for name in [*neighbours, *others]}
            await poll_until(lambda: _has(tmp_path, expected), 60.0)
        finally:
            await cancel_and_wait(workers)

    assert parked.headers["ce-subject"] == poison
    assert _effects(tmp_path) == expected
    assert len(crashes) > DELIVERY_LIMIT


async def _is_parked(operations: httpx.AsyncClient, conversation_id: str) -> bool:
    found = (await operations.get("/v1/dead-letters", params={"conversation_id": conversation_id})).json()[
        "dead_letters"
    ]
    for dead_letter in found:
        assert (dead_letter["cause"], dead_letter["attempts"]) == ("delivery_limit", DELIVERY_LIMIT + 1)
        assert dead_letter["error"] == "delivery limit: its consumer died 21 times"
    return bool(found)


def _effects(folder: Path) -> set[Path]:
    return set(folder.iterdir())


async def _has(folder: Path, expected: set[Path]) -> bool:
    return expected <= _effects(folder)


async def _restart_worker(spec: CrashingSpec, crashes: list[CrashingSpec]) -> None:
    """Start a consumer process again whenever it ends, and add an entry to ``crashes`` each time."""
    while True:
        with start_forked(crashing_worker.run, [spec]) as (process,):
            await wait_for_exit(process)
        crashes.append(spec)


async def _publish(channel: AbstractChannel, queue: AbstractQueue, ids: Sequence[str]) -> None:
    for name in ids:
        wire = encode(request(name))
        message = aio_pika.Message(wire.body, headers=dict(wire.headers), delivery_mode=2)
        await channel.default_exchange.publish(message, queue.name)


@asynccontextmanager
async def _limited_queues(
    suite: Suite, *names: str
) -> AsyncIterator[tuple[AbstractChannel, AbstractQueue, AbstractQueue]]:
    """Declare quorum queues with the limits of a consumed queue, and delete them at the end of the block."""
    async with await aio_pika.connect(suite.state.amqp_url) as connection:
        channel = await connection.channel()
        queues = [await _declare(channel, f"traps.{name}.{uuid4().hex[:8]}") for name in names]
        try:
            first, second = queues
            yield channel, first, second
        finally:
            for queue in queues:
                await queue.delete(if_unused=False, if_empty=False)


async def _declare(channel: AbstractChannel, name: str) -> AbstractQueue:
    arguments: dict[str, Any] = {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": addresses.PARKING,
        "x-dead-letter-routing-key": name,
    }
    return await channel.declare_queue(name, durable=True, arguments=arguments)
