"""Wrong way: an aggregator whose groups are in the memory of its process. It acknowledges each outcome at once."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from prebook.flows import LEG_SETTLED
from prebook.lab.experiments.trips.riders import LEGS_PER_TRIP
from prebook.lab.experiments.worker import redirect_output
from prebook.messaging import addresses
from prebook.messaging.codec import decode
from prebook.messaging.envelope import Envelope
from prebook.patterns.aggregator import Aggregate, all_parts
from prebook.rabbit.amqp_message import from_amqp

if TYPE_CHECKING:
    from prebook.contracts.events import LegSettled
    from prebook.contracts.trip import LegOutcome

QUEUE = "lab.trips_in_memory"
PREFETCH = 8
WHOLE = "all legs"


@dataclass(frozen=True)
class AggregatorSpec:
    """Arguments of the process. ``dies_after``: outcomes after which it is killed, with a group open; 0: never."""

    amqp_url: str
    result_file: str
    log_file: str
    dies_after: int


class InMemoryAggregator:
    """Aggregates the outcomes of trips; writes the id of each complete trip to a file."""

    def __init__(self, result_file: Path, dies_after: int) -> None:
        self._result_file = result_file
        self._dies_after = dies_after
        self._groups: dict[str, Aggregate[LegOutcome, str]] = {}
        self._handled = 0
        self.ended = asyncio.Event()
        """Set once the message of ``send_end`` has come, and with it everything before."""

    async def handle(self, message: AbstractIncomingMessage) -> None:
        """Add an outcome to its group, and acknowledge it."""
        if message.routing_key == QUEUE:
            self.ended.set()
        else:
            self._add(decode(from_amqp(message)))
        await message.ack()
        self._die_if_planned()

    def _add(self, envelope: Envelope) -> None:
        trip_id = envelope.conversation_id
        group = self._groups.get(trip_id) or Aggregate(group_id=trip_id, size=LEGS_PER_TRIP)
        settled = cast("LegSettled", envelope.body)
        grown = group.with_result(settled.leg, settled.outcome, all_parts(WHOLE))
        self._groups[trip_id] = grown
        self._handled += 1
        if grown.completed_by and not group.completed_by:
            with self._result_file.open("a") as file:
                file.write(f"{trip_id}\n")

    def _die_if_planned(self) -> None:
        has_open_group = any(group.completed_by is None for group in self._groups.values())
        if self._dies_after and self._handled >= self._dies_after and has_open_group:
            os.kill(os.getpid(), signal.SIGKILL)


@asynccontextmanager
async def declare_queue(amqp_url: str) -> AsyncIterator[None]:
    """While the block runs, subscribe the aggregator to the outcomes of legs, as any further subscriber would."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        await queue.bind(addresses.EVENTS, addresses.event_routing_key(LEG_SETTLED.name))
        try:
            yield
        finally:
            await channel.queue_delete(QUEUE)


async def send_end(amqp_url: str) -> None:
    """Let the aggregator end once it has handled everything that is in its queue now."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await channel.default_exchange.publish(aio_pika.Message(b""), routing_key=QUEUE)


def run(spec: AggregatorSpec) -> None:
    """Entry point of the process."""
    redirect_output(spec.log_file)
    asyncio.run(_consume(spec))


def read_completed(result_file: Path, keys: Mapping[str, str]) -> list[str]:
    """Return the keys of the trips that the aggregator has completed. ``keys``: key of each trip id."""
    ids = result_file.read_text().split() if result_file.exists() else []
    return [keys[trip_id] for trip_id in ids if trip_id in keys]


async def _consume(spec: AggregatorSpec) -> None:
    aggregator = InMemoryAggregator(Path(spec.result_file), spec.dies_after)
    async with await aio_pika.connect(spec.amqp_url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=PREFETCH)
        queue = await channel.declare_queue(QUEUE, passive=True)
        await queue.consume(aggregator.handle)
        await aggregator.ended.wait()
