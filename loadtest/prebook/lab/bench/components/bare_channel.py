"""The request-reply channel alone, on both sides: envelopes, CloudEvents, our publisher and consumer; nothing is kept.

No inbox, no outbox, no metrics: what the way itself costs.
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
from prebook.rabbit.consumer import RabbitConsumer
from prebook.rabbit.publisher import RabbitPublisher
from prebook.runtime import settings

PREFETCH = 100


@asynccontextmanager
async def open_request_reply(
    service: str, queue: str, handler: Callable[[RequestReply], MessageHandler]
) -> AsyncIterator[RequestReply]:
    """By the environment of the service."""
    given, policies = settings.read_settings()
    publisher = RabbitPublisher(given.amqp_url, service)
    channel = RequestReply(publisher)
    consumer = RabbitConsumer(
        given.amqp_url,
        service,
        {queue: PREFETCH},
        handler(channel),
        publisher=publisher,
        policies=policies,
        observer=NullObserver(),
    )
    links = [asyncio.create_task(link.run()) for link in (publisher.connection, consumer.connection)]
    await asyncio.gather(publisher.connection.up.wait(), consumer.connection.up.wait())
    yield channel
    await consumer.stop()
    for link in links:
        link.cancel()
    await asyncio.gather(*links, return_exceptions=True)


def reply_handler(channel: RequestReply) -> MessageHandler:
    async def answer(asked: Envelope) -> None:
        quoted = FareQuoted(fare=Money(cents=4200), discount=Money(cents=0), valid_until=asked.time)
        await channel.reply(asked.reply_with(quoted, source="pricing", at=utc_now()))

    return answer


async def serve() -> None:
    async with open_request_reply("pricing", addresses.request_queue("pricing", "quote_fare"), reply_handler):
        print("ready", flush=True)  # noqa: T201 - for the process that started us
        await asyncio.Event().wait()


async def measure_calls_as_booking() -> None:
    waiting: dict[str, asyncio.Future[Envelope]] = {}

    async def heard(answer: Envelope) -> None:
        waiting.pop(answer.id).set_result(answer)

    asked = fare_request("", conversation_id="")
    async with open_request_reply("booking", addresses.reply_queue("booking"), lambda _: heard) as channel:

        async def call(number: int) -> None:
            name = f"ride-{number}.quote_fare"
            waiting[reply_id(name)] = answered = asyncio.get_running_loop().create_future()
            await channel.send(replace(asked, id=name, conversation_id=f"ride-{number}"))
            await answered

        await measure_calls(call)


ROLES: Mapping[str, Callable[[], Coroutine[Any, Any, None]]] = {"serve": serve, "measure": measure_calls_as_booking}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in ROLES:  # noqa: PLR2004 - the program's own name and one word
        sys.exit(
            f"usage: python -m prebook.lab.bench.components.bare_channel {'|'.join(ROLES)}, "
            "with a service's environment"
        )
    uvloop.run(ROLES[sys.argv[1]]())
