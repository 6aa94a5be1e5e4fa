"""How many messages a consumer should have in hand: each number beside the default, with a fast and a slow handler."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import isnan, nan
from pathlib import Path
from statistics import median

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from prebook.contracts.plan import Coupling
from prebook.lab.bench.repliers import Side, answered, ours, replies, tables, taking
from prebook.lab.bench.rounds import Figures
from prebook.lab.bench.rows import Better, Measure, Row, row
from prebook.lab.bench.stub_service import SLOW
from prebook.lab.bench.testbed import Ground
from prebook.messaging import addresses
from prebook.messaging.policy import FlowPolicy

TRIED = (1, 8, 32, 64, 256)
DEFAULT = FlowPolicy(coupling=Coupling.ONE_WAY).prefetch
HANDLERS: Mapping[str, tuple[float, int]] = {"fast": (0.0, 800), "slow": (0.05, 320)}
"""Handler -> seconds for which it waits for others, and how many messages are measured."""
MOST_S = 6.0
"""So long one measurement may take: one at a time, a slow handler gets fewer messages."""
MOST_ROUNDS = 2
"""Each starts ten processes; the numbers differ by more than rounds do."""
FEW, JOINS_AFTER_S, AT_ONCE = 8, 0.2, 512
MUCH_BETTER = 1.25
Key = tuple[str, int]


async def measured(ground: Ground, rounds: int) -> list[Row]:
    """Every number in every round; each has its own process, since what it has in hand is fixed when it starts."""
    found: dict[Key, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    async with tables(ground), replies(ground) as (channel, queue):
        side = await ours(ground, channel, queue, None)
        for _ in range(min(rounds, MOST_ROUNDS)):
            for handler in HANDLERS:
                for prefetch in TRIED:
                    for figure, value in (await _tried(ground, channel, side, handler, prefetch)).items():
                        found[handler, prefetch][figure].append(value)
    return [_row(found, handler, prefetch) for handler in HANDLERS for prefetch in TRIED]


async def _tried(ground: Ground, channel: AbstractChannel, side: Side, handler: str, prefetch: int) -> Figures:
    slow_s, count = HANDLERS[handler]
    count = min(count, int(MOST_S * prefetch / slow_s)) if slow_s else count
    async with taking(ground, prefetch, **{SLOW: str(slow_s)}) as process:
        side.process = process
        await answered(side, FEW, at_once=FEW)
        few = await _waited(side, count // 4)
        many = await answered(side, count, at_once=AT_ONCE)
        memory = _resident_mb(process.pid)
        share = await _late_comers_share(channel, side, prefetch, count // 2)
    return {"messages_s": many["messages_s"], "few_ms": few, "memory_mb": memory, "share": share}


async def _waited(side: Side, count: int) -> float:
    """Median time of a question, with few of them in flight."""
    times: list[float] = []
    questions = iter(side.questions(count))

    async def asker() -> None:
        for name, message in questions:
            times.append(await side.ask(name, message))

    await asyncio.gather(*(asker() for _ in range(FEW)))
    return median(times) * 1000


async def _late_comers_share(channel: AbstractChannel, side: Side, prefetch: int, count: int) -> float:
    """Of what was left when it came; NaN where nothing was. It takes as many at a time, and as long for each, so that
    half would be fair.
    """
    taken: list[float] = []

    async def take(message: AbstractIncomingMessage) -> None:
        taken.append(time.perf_counter())
        await asyncio.sleep(HANDLERS["slow"][0])
        side.heard_of(str(message.message_id))
        await message.ack()

    asked = [asyncio.create_task(side.ask(*each)) for each in side.questions(count)]
    await asyncio.sleep(JOINS_AFTER_S)
    left = len(side.waiting)
    await channel.set_qos(prefetch_count=prefetch)
    late = await channel.get_queue(addresses.request_queue("pricing", "quote_fare"), ensure=False)
    tag = await late.consume(take)
    await asyncio.gather(*asked)
    await late.cancel(tag)
    return len(taken) / left if left else nan


def _resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def _shared(share: float) -> str:
    return "nothing left" if isnan(share) else f"{share:.0%} of the backlog"


def _row(found: Mapping[Key, Mapping[str, Sequence[float]]], handler: str, prefetch: int) -> Row:
    """The default is good enough where no other number is much better."""
    mine, default = found[handler, prefetch], found[handler, DEFAULT]
    few, memory, share = (median(mine[figure]) for figure in ("few_ms", "memory_mb", "share"))
    measure = Measure(
        f"prefetch {prefetch}, {handler} handler",
        "messages/s",
        Better.LOWER,
        f"prefetch {DEFAULT}, the default",
        MUCH_BETTER,
        f"{few:.0f} ms with {FEW} in flight; {memory:.0f} MB; {_shared(share)} for one that joins later",
    )
    return row(measure, mine["messages_s"], default["messages_s"])
