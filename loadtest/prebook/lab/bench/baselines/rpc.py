"""Hand-written request-reply on bare aio-pika with publisher confirms: JSON bodies and a future per call.

Variants: ``durable`` has quorum queues and persistent messages, as the suite. ``with_headers`` also has the suite's
headers on each message and a separate connection for publishing, which the broker can block without stopping the
consumer. ``transient`` has classic queues and transient messages, which do not survive a restart of the broker.
"""

import asyncio
import json
import os
import sys
import uuid
from typing import Any

import aio_pika
import uvloop
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from prebook.lab.bench.baselines.rpc_client import REPLY_BODY, REQUEST_BODY, measure_calls

PREFETCH = 100
VARIANTS: dict[str, tuple[str, aio_pika.DeliveryMode]] = {
    "durable": ("quorum", aio_pika.DeliveryMode.PERSISTENT),
    "with_headers": ("quorum", aio_pika.DeliveryMode.PERSISTENT),
    "transient": ("classic", aio_pika.DeliveryMode.NOT_PERSISTENT),
}
FLOWS = ("quote_fare", "find_driver", "ask_fleet", "notify_rider")
PROPERTIES: dict[str, Any] = {
    "message_id": "ride-0000.quote_fare",
    "type": "prebook.quote_fare.v1",
    "app_id": "prebook",
    "content_type": "application/json",
    "headers": {
        "ce-specversion": "1.0",
        "ce-id": "ride-0000.quote_fare",
        "ce-type": "prebook.quote_fare.v1",
        "ce-source": "/prebook/booking",
        "ce-subject": "ride-0000",
        "ce-time": "2026-12-01T06:30:00.000000+00:00",
        "ce-partitionkey": "ride-0000",
        "prebook-hash-slot": "7",
        "prebook-kind": "request",
        "prebook-flow": "quote_fare",
        "prebook-plan": ",".join(f"{flow}=request_reply" for flow in FLOWS),
        "prebook-attempt": "1",
        "prebook-reply-to": "booking",
        "prebook-expires-at": "2026-12-01T07:30:00.000000+00:00",
    },
}
"""Properties and headers of the same number and size as the suite's."""


async def open_channels(variant: str) -> tuple[AbstractChannel, AbstractChannel]:
    """Return the channel for consuming and the channel for publishing, the same one except in ``with_headers``."""
    channel = await _open_channel()
    await channel.set_qos(PREFETCH)
    await channel.declare_queue(f"baseline.rpc.{variant}", durable=True, arguments=_queue_arguments(variant))
    return channel, await _open_channel() if variant == "with_headers" else channel


async def _open_channel() -> AbstractChannel:
    return await (await aio_pika.connect(os.environ["BENCH_AMQP_URL"])).channel()


async def serve(variant: str) -> None:
    """Reply to requests until the process is stopped; print ``ready`` once consuming."""
    (channel, publishing_channel) = await open_channels(variant)
    mode = VARIANTS[variant][1]

    async def on_request(message: AbstractIncomingMessage) -> None:
        json.loads(message.body)
        reply = aio_pika.Message(
            json.dumps(REPLY_BODY).encode(),
            correlation_id=message.correlation_id,
            delivery_mode=mode,
            **_properties(variant),
        )
        await publishing_channel.default_exchange.publish(reply, str(message.reply_to))
        await message.ack()

    await (await channel.get_queue(f"baseline.rpc.{variant}")).consume(on_request)
    print("ready", flush=True)  # noqa: T201 - read by the parent process
    await asyncio.Event().wait()


async def measure(variant: str) -> None:
    """Send requests, wait for each reply, and print the figures."""
    (channel, publishing_channel) = await open_channels(variant)
    mode = VARIANTS[variant][1]
    replies = await _declare_reply_queue(channel, variant)
    pending: dict[str, asyncio.Future[Any]] = {}

    async def on_reply(message: AbstractIncomingMessage) -> None:
        pending.pop(str(message.correlation_id)).set_result(json.loads(message.body))
        if variant != "transient":
            await message.ack()

    async def call(number: int) -> None:
        pending[str(number)] = replied = asyncio.get_running_loop().create_future()
        request = aio_pika.Message(
            json.dumps(REQUEST_BODY).encode(),
            correlation_id=str(number),
            reply_to=replies.name,
            delivery_mode=mode,
            **_properties(variant),
        )
        await publishing_channel.default_exchange.publish(request, f"baseline.rpc.{variant}")
        await replied

    await replies.consume(on_reply, no_ack=variant == "transient")
    await measure_calls(call)


async def _declare_reply_queue(channel: AbstractChannel, variant: str) -> aio_pika.abc.AbstractQueue:
    if variant == "transient":
        return await channel.declare_queue(exclusive=True, auto_delete=True)
    name = f"baseline.replies.{uuid.uuid4().hex[:8]}"
    return await channel.declare_queue(name, durable=True, arguments={**_queue_arguments(variant), "x-expires": 60_000})


def _properties(variant: str) -> dict[str, Any]:
    return PROPERTIES if variant == "with_headers" else {}


def _queue_arguments(variant: str) -> Any:
    return {"x-queue-type": VARIANTS[variant][0]}


ROLES = {"serve": serve, "measure": measure}

if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ROLES or sys.argv[2] not in VARIANTS:  # noqa: PLR2004 - program, role, variant
        sys.exit(
            "usage: python -m prebook.lab.bench.baselines.rpc serve|measure durable|with_headers|transient, "
            "with BENCH_AMQP_URL set"
        )
    uvloop.run(ROLES[sys.argv[1]](sys.argv[2]))
