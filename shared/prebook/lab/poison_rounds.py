"""The same load with one poison message of each kind and without, in turn: what became of it, and of the others."""

import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aio_pika
import asyncpg
from aio_pika.abc import AbstractQueue

from prebook.lab import poison_consumer
from prebook.lab.exactly_once import Bench, counting
from prebook.lab.poison_consumer import READY, SERVICE, Part
from prebook.lab.poison_messages import OTHER, POISON, messages
from prebook.lab.poisons import FATES, QUEUE, Arm, Fate, Load, Poison, percentile
from prebook.messaging import parking
from prebook.messaging.codec import Wire
from prebook.patterns import addresses
from prebook.rabbit.frames import from_amqp
from prebook.rabbit.publisher import RabbitPublisher
from prebook.runtime.stack.child import tail
from prebook.runtime.stack.parts import Say
from prebook.runtime.stack.trouble import Trouble
from prebook.runtime.stack.waiting import until

TABLE = f"CREATE TABLE {SERVICE}.taken (run text, message text)"
TAKEN = f"SELECT message, count(*) AS effects FROM {SERVICE}.taken WHERE run = $1 GROUP BY message"  # noqa: S608 - a schema
STARTED_WITHIN_S, DONE_WITHIN_S = 20.0, 15.0
AGAIN = "nothing can be concluded from this run: try again while the machine has less to do"


async def rounds(bench: Bench, url: str, load: Load, count: int, say: Say) -> list[Arm]:
    """All kinds and the runs without, shuffled within each round. ``url``: the broker, for its administrator.

    Raises Trouble.
    """
    arms = []
    async with counting(bench.database_url) as database, await aio_pika.connect(url) as broker:
        await database.execute(TABLE)
        parked = await (await broker.channel()).get_queue(addresses.PARKED_QUEUE, ensure=False)
        for number in range(1, count + 1):
            for at, poison in enumerate(load.arms(number), 1):
                say(f"round {number} of {count}, run {at}: {poison.replace('_', ' ')}")
                run = _Run(bench, url, load, poison, f"{number}-{at}")
                arms.append(await run.measured(number, database, parked))
    return arms


@dataclass(frozen=True)
class _Sent:
    """When each message was meant to leave, and how late it did; seconds."""

    meant: dict[str, float]
    late: list[float]


class _Run:
    def __init__(self, bench: Bench, url: str, load: Load, poison: Poison, name: str) -> None:
        self._load, self._poison, self._name, self._url = load, poison, name, url
        self._file = bench.folder / f"poison-{name}"
        self._part = Part(
            run=name, url=url, env=bench.envs[SERVICE], notes=f"{self._file}.notes", log=f"{self._file}.log"
        )

    async def measured(self, number: int, database: asyncpg.Connection, parked: AbstractQueue) -> Arm:
        async with self._consumer():
            await self._until(self._ready, STARTED_WITHIN_S, "the consumer")
            sent = await self._said()
            await self._until(self._others_noted, DONE_WITHIN_S, "the effect of every other message")
            fates = await self._fates(parked)
        effects = {row["message"]: row["effects"] for row in await database.fetch(TAKEN, self._name)}
        took = [(at - sent.meant[what]) * 1000 for what, at in self._notes() if what in sent.meant]
        return Arm(
            poison=self._poison,
            round=number,
            handled=len(effects.keys() & sent.meant.keys()),
            doubled=sum(count > 1 for count in effects.values()),
            fates=fates,
            p50_ms=round(percentile(took, 0.5), 2),
            p99_ms=round(percentile(took, 0.99), 2),
            max_ms=round(max(took), 2),
            late_ms=round(percentile(sent.late, 0.99) * 1000, 2),
        )

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[None]:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["__main__", "prebook.lab.poison_consumer"])
        process = context.Process(target=poison_consumer.live, args=(self._part,), daemon=True)
        process.start()
        try:
            yield
        finally:
            process.kill()
            process.join()

    async def _said(self) -> _Sent:
        """Each at its time, however slowly the ones before are confirmed."""
        publisher, sent = RabbitPublisher(self._url, "lab"), _Sent({}, [])
        link = asyncio.create_task(publisher.link.run())
        try:
            await publisher.link.up.wait()
            began = time.time() + 0.1
            async with asyncio.TaskGroup() as saying:
                for place, (name, wire) in enumerate(messages(self._load, self._poison, self._name)):
                    meant = began + place / self._load.rate_per_s
                    await asyncio.sleep(max(0.0, meant - time.time()))
                    sent.late.append(time.time() - meant)
                    if name.startswith(OTHER):
                        sent.meant[name] = meant
                    saying.create_task(publisher.publish(addresses.REDELIVER, QUEUE, wire))
        finally:
            link.cancel()
            await asyncio.wait({link})
        return sent

    async def _fates(self, parked: AbstractQueue) -> list[Fate]:
        """All that lies in the parking: the poison, once it is there, and nothing else."""
        found: list[Fate] = []

        async def there() -> bool:
            while message := await parked.get(no_ack=True, fail=False):
                found.append(self._read(from_amqp(message)))
            return len(found) >= (self._poison in FATES)

        await self._until(there, DONE_WITHIN_S, "the parking of the poison")
        return found

    def _read(self, wire: Wire) -> Fate:
        return Fate(wire.headers.get(parking.CAUSE, ""), sum(what == POISON for what, _ in self._notes()))

    async def _ready(self) -> bool:
        return any(what == READY for what, _ in self._notes())

    async def _others_noted(self) -> bool:
        return sum(what.startswith(OTHER) for what, _ in self._notes()) >= self._load.messages

    def _notes(self) -> list[tuple[str, float]]:
        """(what, when) in whole lines."""
        path = Path(self._part.notes)
        lines = path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []
        return [(what, float(at)) for what, _, at in (line.partition(" ") for line in lines)]

    async def _until(self, condition: Callable[[], Awaitable[bool]], within_s: float, what: str) -> None:
        try:
            await until(condition, within_s, what=f"{self._name}: {what}", remedy=AGAIN)
        except Trouble as trouble:
            raise Trouble(f"{trouble.problem}. Last words: {self._last_words()}", AGAIN) from None

    def _last_words(self) -> str:
        log = Path(self._part.log)
        return (tail(log).strip() if log.exists() else "") or "(none)"
