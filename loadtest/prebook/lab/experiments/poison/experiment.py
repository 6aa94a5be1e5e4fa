"""The same load on two sides at a time, one of them with a poison message: what became of it, and of the others."""

import asyncio
import time
from collections.abc import Iterator

import aio_pika
import asyncpg
from aio_pika.abc import AbstractQueue

from prebook.devstack.servers import Say
from prebook.lab.experiments.exactly_once.experiment import Bench, counting
from prebook.lab.experiments.poison.consumer_process import TABLE, Side
from prebook.lab.experiments.poison.messages import POISON, messages
from prebook.lab.experiments.poison.model import FATES, SIDES, Arm, Fate, Load, Poison, percentile, queue_of, times
from prebook.messaging import addresses
from prebook.messaging.codec import Wire
from prebook.messaging.recoverability import dead_letter
from prebook.rabbit.amqp_message import from_amqp
from prebook.rabbit.publisher import RabbitPublisher


async def rounds(bench: Bench, url: str, load: Load, count: int, say: Say) -> list[Arm]:
    """All kinds and the runs without, shuffled within each round. ``url``: the broker, for its administrator.

    Raises Trouble.
    """
    arms: list[Arm] = []
    async with counting(bench.database_url) as database, await aio_pika.connect(url) as broker:
        await database.execute(TABLE)
        parked = await (await broker.channel()).get_queue(addresses.PARKED_QUEUE, ensure=False)
        for number in range(1, count + 1):
            for at, poison in enumerate(load.arms(number), 1):
                say(f"round {number} of {count}, run {at}: {poison.replace('_', ' ')}")
                run = _Run(bench, url, load, poison, number)
                arms.append(await run.measured(database, parked))
    return arms


class _Run:
    """Left or right gets the poison, by turns."""

    def __init__(self, bench: Bench, url: str, load: Load, poison: Poison, number: int) -> None:
        self._load, self._poison, self._url, self._number = load, poison, url, number
        self._sides = [Side(bench, url, load, f"{number}-{poison}-{side}", queue_of(side)) for side in SIDES]
        if number % 2:
            self._sides.reverse()

    async def measured(self, database: asyncpg.Connection, parked: AbstractQueue) -> Arm:
        poisoned, beside = self._sides
        async with poisoned.consuming(), beside.consuming():
            late = await self._said()
            for side in self._sides:
                await side.noted()
            fates = await self._fates(parked)
        effects = [await side.effects(database) for side in self._sides]
        return Arm(
            poison=self._poison,
            round=self._number,
            handled=sum(len(counted) for counted in effects),
            doubled=sum(count > 1 for counted in effects for count in counted.values()),
            fates=fates,
            others=times(poisoned.took()),
            beside=times(beside.took()),
            late_ms=round(percentile(late, 0.99) * 1000, 2),
        )

    async def _said(self) -> list[float]:
        """Each at its time, however slowly the ones before are confirmed; how late each left."""
        publisher, late = RabbitPublisher(self._url, "lab"), list[float]()
        link = asyncio.create_task(publisher.link.run())
        try:
            await publisher.link.up.wait()
            began = time.time() + 0.1
            async with asyncio.TaskGroup() as saying:
                for meant, side, name, wire in self._planned(began):
                    await asyncio.sleep(max(0.0, meant - time.time()))
                    late.append(time.time() - meant)
                    side.meant[name] = meant
                    saying.create_task(publisher.publish(addresses.REDELIVER, side.queue, wire))
        finally:
            link.cancel()
            await asyncio.wait({link})
        return late

    def _planned(self, began: float) -> Iterator[tuple[float, Side, str, Wire]]:
        """The sides take turns. The poison leaves with the message behind it, so that both have the same times."""
        every_s = 1.0 / self._load.rate_per_s
        kinds = (self._poison, Poison.NONE)
        streams = [messages(self._load, kind, side.run) for kind, side in zip(kinds, self._sides, strict=True)]
        for place in range(self._load.warm_up + self._load.messages):
            for turn, (side, stream) in enumerate(zip(self._sides, streams, strict=True)):
                meant = began + (place + turn / len(SIDES)) * every_s
                name, wire = next(stream)
                if name == POISON:
                    yield meant, side, name, wire
                    name, wire = next(stream)
                yield meant, side, name, wire

    async def _fates(self, parked: AbstractQueue) -> list[Fate]:
        """All that lies in the parking: the poison, once it is there, and nothing else."""
        found: list[Fate] = []

        async def there() -> bool:
            while message := await parked.get(no_ack=True, fail=False):
                cause = from_amqp(message).headers.get(dead_letter.CAUSE, "")
                found.append(Fate(cause, self._sides[0].tries()))
            return len(found) >= (self._poison in FATES)

        await self._sides[0].until(there, "the parking of the poison")
        return found
