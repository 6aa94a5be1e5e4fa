"""Receiver process that requeues a failing message at once: the default of many client libraries."""

import asyncio
from pathlib import Path

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from prebook.lab.experiments import worker
from prebook.lab.experiments.patterns.receiver import TIMEOUT_S, ReceiverSpec
from prebook.lab.experiments.retries.failing_receiver import PREFETCH, failures_of
from prebook.messaging.headers import CONVERSATION_ID_HEADER
from prebook.rabbit.amqp_message import from_amqp


class RequeueingReceiverSpec(ReceiverSpec, frozen=True, kw_only=True):
    """Arguments of one process. ``deliveries_path``: file for the message of each delivery, one line each."""

    deliveries_path: str

    def __repr__(self) -> str:
        return "RequeueingReceiverSpec(<not printed: it holds secrets>)"

    def read_deliveries(self) -> list[str]:
        """Return the messages of the deliveries so far, in their order."""
        return Path(self.deliveries_path).read_text().splitlines()


class RequeueingReceiver:
    """Consumer that acknowledges every message that does not fail."""

    def __init__(self, spec: RequeueingReceiverSpec) -> None:
        self._spec = spec
        self._deliveries = Path(spec.deliveries_path).open("w", buffering=1)  # noqa: SIM115 - open until the process is killed

    async def run(self) -> None:
        """Consume until the process is killed."""
        async with await aio_pika.connect(self._spec.amqp_url) as connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=PREFETCH)
            await (await channel.get_queue(self._spec.queue, ensure=False)).consume(self._handle)
            self._spec.mark_ready()
            await asyncio.Event().wait()

    async def _handle(self, message: AbstractIncomingMessage) -> None:
        name = from_amqp(message).headers[CONVERSATION_ID_HEADER]
        self._deliveries.write(f"{name}\n")
        if failures_of(name):
            await message.reject(requeue=True)
        else:
            await message.ack()


def run(spec: RequeueingReceiverSpec) -> None:
    """Entry point of the process."""
    worker.run_worker(spec.service, spec, lambda _: RequeueingReceiver(spec).run(), timeout_s=TIMEOUT_S)
