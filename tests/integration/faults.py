"""Riders who keep coming while something breaks."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count, cycle
from uuid import uuid4

import httpx

from prebook.contracts.plan import Plan
from tests.integration.riders import ACCEPTED, Riders

EVERY_S = 0.15
KEEPS_TRYING_S = 30.0


@dataclass
class Stream:
    """What became of the offers: ids of those that were accepted, and the responses of those that were not."""

    ids: list[str] = field(default_factory=list)
    refusals: list[httpx.Response] = field(default_factory=list)


@asynccontextmanager
async def offered(riders: Riders, plans: Sequence[Plan], *, again: bool = False) -> AsyncIterator[Stream]:
    """One ride after the other while the block runs. ``again``: a rider repeats a request until it is accepted."""
    stream, over = Stream(), asyncio.Event()
    one = _insist if again else _once

    async def come() -> None:
        ending = asyncio.create_task(over.wait())
        async with asyncio.TaskGroup() as riding:
            for plan in cycle(plans):
                riding.create_task(one(riders, plan, stream))
                await asyncio.wait({ending}, timeout=EVERY_S)
                if over.is_set():
                    return

    coming = asyncio.create_task(come())
    try:
        yield stream
    finally:
        over.set()
        await coming


async def _once(riders: Riders, plan: Plan, stream: Stream) -> None:
    response = await riders.post(plan)
    if response.status_code in ACCEPTED:
        stream.ids.append(response.json()["id"])
    else:
        stream.refusals.append(response)


async def _insist(riders: Riders, plan: Plan, stream: Stream) -> None:
    """The same key every time, so that however many of the tries came through, it is one ride."""
    key = uuid4().hex
    async with asyncio.timeout(KEEPS_TRYING_S):
        for _ in count():
            try:
                response = await riders.post(plan, key=key)
            except httpx.TransportError:
                await asyncio.sleep(EVERY_S)
                continue
            if response.status_code in ACCEPTED:
                stream.ids.append(response.json()["id"])
                return
            stream.refusals.append(response)
            await asyncio.sleep(EVERY_S)
