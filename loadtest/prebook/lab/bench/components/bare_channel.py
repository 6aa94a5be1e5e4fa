"""Caller and provider of the request-reply channel alone: envelopes, CloudEvents headers, publisher and consumer.

Without inbox, outbox and metrics, so that only the cost of the channel is measured.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import uvloop

from prebook.contracts.pricing import FareQuoted
from prebook.contracts.ride import Money
from prebook.coupling.request_reply import RequestReply
from prebook.lab.bench.baselines.rpc_client import measure_calls
from prebook.lab.bench.messages import fare_request
from prebook.messaging import addresses
from prebook.messaging.clock import utc_now
from prebook.messaging.envelope import Envelope, reply_id
from prebook.messaging.handlers import MessageHandler
from prebook.messaging.observer import NullObserver
from prebook.messaging.policy import retry_delays_s
from prebook.rabbit.consumer import RabbitConsumer
from prebook.rabbit.publisher import RabbitPublisher
from prebook.runtime import settings
from prebook.topology.model import suite_topology
from prebook.topology.sender_check import sender_check

PREFETCH = 100


@asynccontextmanager
async def open_request_reply(
    service: str, queue: str, handler: Callable[[RequestReply], MessageHandler]
) -> AsyncIterator[RequestReply]:
    """Open the channel of ``service`` with a consumer of ``queue`` until the block ends; settings are in os.environ.

    ``handler``: returns the message handler for the channel.
    """
    service_settings, policies = settings.read_settings()
    publisher = RabbitPublisher(service_settings.amqp_url, service)
    channel = RequestReply(publisher)
    consumer = RabbitConsumer(
        service_settings.amqp_url,
        service,
        {queue: PREFETCH},
        handler(channel),
        publisher=publisher,
        policies=policies,
        observer=NullObserver(),
        check_sender=sender_check(suite_topology(retry_delays_s(policies))),
    )
    links = [asyncio.create_task(link.run()) for link in (publisher.connection, consumer.connection)]
    await asyncio.gather(publisher.connection.up.wait(), consumer.connection.up.wait())
    yield channel
    await consumer.stop()
    for link in links:
        link.cancel()
    await asyncio.gather(*links, return_exceptions=True)


def reply_handler(channel: RequestReply) -> MessageHandler:
    """Return a handler that replies with a constant fare."""

    async def reply(request: Envelope) -> None:
        quoted = FareQuoted(fare=Money(cents=4200), discount=Money(cents=0), valid_until=request.time)
        await channel.reply(request.reply_with(quoted, source="pricing", at=utc_now()))

    return reply


async def serve() -> None:
    """Reply to fare requests until the process is stopped."""
    async with open_request_reply("pricing", addresses.request_queue("pricing", "quote_fare"), reply_handler):
        print("ready", flush=True)  # noqa: T201 - read by the parent process
        await asyncio.Event().wait()


async def measure_calls_as_booking() -> None:
    """Send requests as booking, wait for each reply, and print the figures."""
    pending: dict[str, asyncio.Future[Envelope]] = {}

    async def on_reply(reply: Envelope) -> None:
        pending.pop(reply.id).set_result(reply)

    template = fare_request("", conversation_id="")
    async with open_request_reply("booking", addresses.reply_queue("booking"), lambda _: on_reply) as channel:

        async def call(number: int) -> None:
            request_id = f"ride-{number}.quote_fare"
            pending[reply_id(request_id)] = replied = asyncio.get_running_loop().create_future()
            await channel.send(replace(template, id=request_id, conversation_id=f"ride-{number}"))
            await replied

        await measure_calls(call)


ROLES: Mapping[str, Callable[[], Coroutine[Any, Any, None]]] = {"serve": serve, "measure": measure_calls_as_booking}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in ROLES:  # noqa: PLR2004 - program and one argument
        sys.exit(
            f"usage: python -m prebook.lab.bench.components.bare_channel {'|'.join(ROLES)}, "
            "with a service's environment"
        )
    uvloop.run(ROLES[sys.argv[1]]())
