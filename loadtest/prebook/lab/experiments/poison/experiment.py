"""Runner of the poison experiment: two sides under the same load, one of them with a poison message."""

import asyncio
import time
from collections.abc import Iterator

import aio_pika
import asyncpg
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

from prebook.devstack.servers import Log
from prebook.lab.background import run_in_background
from prebook.lab.experiments.poison.consumer_process import CREATE_TABLE, ConsumerProcess
from prebook.lab.experiments.poison.messages import POISON, messages
from prebook.lab.experiments.poison.model import (
    EXPECTED_PARKED,
    SIDES,
    ParkedPoison,
    PoisonKind,
    PoisonLoad,
    PoisonRun,
    latency_quantiles,
    percentile,
    queue_of,
)
from prebook.lab.experiments.testbed import ExperimentContext, connect_as_admin
from prebook.messaging import addresses, headers
from prebook.messaging.codec import WireMessage
from prebook.rabbit.dead_letter_consumer import dead_letter_from_amqp
from prebook.rabbit.publisher import RabbitPublisher


async def run_rounds(
    context: ExperimentContext, amqp_url: str, load: PoisonLoad, count: int, log: Log
) -> list[PoisonRun]:
    """Run every kind of poison and the control once per round, in random order.

    ``amqp_url`` holds an administrator's credentials. Raises UserError.
    """
    runs: list[PoisonRun] = []
    async with connect_as_admin(context.database_url) as database, await aio_pika.connect(amqp_url) as broker:
        await database.execute(CREATE_TABLE)
        parked = await (await broker.channel()).get_queue(addresses.PARKING_QUEUE, ensure=False)
        for number in range(1, count + 1):
            for run_number, poison in enumerate(load.shuffled_kinds(number), 1):
                log(f"round {number} of {count}, run {run_number}: {poison.replace('_', ' ')}")
                run = _Run(context, amqp_url, load, poison, number)
                runs.append(await run.measure(database, parked))
    return runs


class _Run:
    """One run; the side with the poison alternates between rounds."""

    def __init__(
        self, context: ExperimentContext, amqp_url: str, load: PoisonLoad, poison: PoisonKind, number: int
    ) -> None:
        self._load = load
        self._poison = poison
        self._amqp_url = amqp_url
        self._number = number
        self._sides = [
            ConsumerProcess(
                context,
                amqp_url,
                load,
                f"{number}-{poison}-{side}",
                queue_of(side),
                crashes=poison is PoisonKind.CRASHING,
            )
            for side in SIDES
        ]
        if number % 2:
            self._sides.reverse()

    async def measure(self, database: asyncpg.Connection, parked: AbstractQueue) -> PoisonRun:
        poisoned, control = self._sides
        async with poisoned.run_consumer(), control.run_consumer():
            lags_s = await self._publish_load()
            for side in self._sides:
                await side.wait_until_handled()
            poison_parked = await self._read_parked(parked)
        effects = [await side.read_effects(database) for side in self._sides]
        return PoisonRun(
            poison=self._poison,
            round=self._number,
            handled=sum(len(counts) for counts in effects),
            duplicated=sum(count > 1 for counts in effects for count in counts.values()),
            parked=poison_parked,
            others=latency_quantiles(poisoned.read_latencies_s()),
            control=latency_quantiles(control.read_latencies_s()),
            lag_p99_ms=round(percentile(lags_s, 0.99) * 1000, 2),
        )

    async def _publish_load(self) -> list[float]:
        """Publish each message at its intended time, regardless of earlier confirms; return their lags in seconds."""
        publisher = RabbitPublisher(self._amqp_url, "lab")
        lags_s = list[float]()
        async with run_in_background(publisher.connection.run()):
            await publisher.connection.up.wait()
            started_at_s = time.time() + 0.1
            async with asyncio.TaskGroup() as tasks:
                for due_at_s, side, name, wire in self._schedule(started_at_s):
                    await asyncio.sleep(max(0.0, due_at_s - time.time()))
                    lags_s.append(time.time() - due_at_s)
                    side.scheduled_at_s[name] = due_at_s
                    tasks.create_task(publisher.publish(addresses.REDELIVER, side.queue, wire))
        return lags_s

    def _schedule(self, started_at_s: float) -> Iterator[tuple[float, ConsumerProcess, str, WireMessage]]:
        """Yield time, side, name and message; the sides alternate.

        The poison is published together with the message after it, so that both sides have the same schedule.
        """
        interval_s = 1.0 / self._load.rate_per_s
        kinds = (self._poison, PoisonKind.NONE)
        streams = [messages(self._load, kind, side.run) for kind, side in zip(kinds, self._sides, strict=True)]
        for position in range(self._load.warm_up + self._load.messages):
            for turn, (side, stream) in enumerate(zip(self._sides, streams, strict=True)):
                due_at_s = started_at_s + (position + turn / len(SIDES)) * interval_s
                name, wire = next(stream)
                if name == POISON:
                    yield due_at_s, side, name, wire
                    name, wire = next(stream)
                yield due_at_s, side, name, wire

    async def _read_parked(self, parked: AbstractQueue) -> list[ParkedPoison]:
        """Return all messages in the parking queue, once the poison, if there is one, has arrived."""
        dead_letters: list[ParkedPoison] = []

        async def poison_arrived() -> bool:
            while message := await parked.get(no_ack=True, fail=False):
                dead_letters.append(ParkedPoison(_cause_of(message), self._sides[0].count_attempts()))
            return len(dead_letters) >= (self._poison in EXPECTED_PARKED)

        await self._sides[0].wait_until(poison_arrived, "the parking of the poison message")
        return dead_letters


def _cause_of(message: AbstractIncomingMessage) -> str:
    """Return the cause that the consumer has recorded, or the reason of the broker."""
    dead_letter = dead_letter_from_amqp(message)
    reasons = [death.reason for death in dead_letter.x_deaths]
    return dead_letter.headers.get(headers.CAUSE_HEADER, reasons[0] if reasons else "")
