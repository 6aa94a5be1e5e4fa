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
from prebook.lab.bench.baselines.rpc_client import ask
from prebook.lab.bench.messages import question
from prebook.messaging import addresses
from prebook.messaging.clock import utc_now
from prebook.messaging.envelope import Envelope, answer_id
from prebook.messaging.observer import Unwatched
from prebook.rabbit.consumer import Door, RabbitConsumer
from prebook.rabbit.publisher import RabbitPublisher
from prebook.runtime import settings

PREFETCH = 100


@asynccontextmanager
async def way(service: str, queue: str, door: Callable[[RequestReply], Door]) -> AsyncIterator[RequestReply]:
    """By the environment of the service."""
    given, policies = settings.load()
    publisher = RabbitPublisher(given.amqp_url, service)
    channel = RequestReply(publisher)
    consumer = RabbitConsumer(
        given.amqp_url,
        service,
        {queue: PREFETCH},
        door(channel),
        publisher=publisher,
        policies=policies,
        watch=Unwatched(),
    )
    links = [asyncio.create_task(link.run()) for link in (publisher.link, consumer.link)]
    await asyncio.gather(publisher.link.up.wait(), consumer.link.up.wait())
    yield channel
    await consumer.stop()
    for link in links:
        link.cancel()
    await asyncio.gather(*links, return_exceptions=True)


def answering(channel: RequestReply) -> Door:
    async def answer(asked: Envelope) -> None:
        quoted = FareQuoted(fare=Money(cents=4200), discount=Money(cents=0), valid_until=asked.time)
        await channel.reply(asked.answered(quoted, source="pricing", at=utc_now()))

    return answer


async def serve() -> None:
    async with way("pricing", addresses.request_queue("pricing", "quote_fare"), answering):
        print("ready", flush=True)  # noqa: T201 - for the process that started us
        await asyncio.Event().wait()


async def call_and_wait() -> None:
    waiting: dict[str, asyncio.Future[Envelope]] = {}

    async def heard(answer: Envelope) -> None:
        waiting.pop(answer.id).set_result(answer)

    asked = question("", conversation="")
    async with way("booking", addresses.reply_queue("booking"), lambda _: heard) as channel:

        async def call(number: int) -> None:
            name = f"ride-{number}.quote_fare"
            waiting[answer_id(name)] = answered = asyncio.get_running_loop().create_future()
            await channel.send(replace(asked, id=name, conversation=f"ride-{number}"))
            await answered

        await ask(call)


ROLES: Mapping[str, Callable[[], Coroutine[Any, Any, None]]] = {"serve": serve, "ask": call_and_wait}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in ROLES:  # noqa: PLR2004 - the program's own name and one word
        sys.exit(f"usage: python -m loadtest.bench.ours.bare {'|'.join(ROLES)}, with a service's environment")
    uvloop.run(ROLES[sys.argv[1]]())
