"""Request-reply with FastStream, as its own pages show it."""

import asyncio
import importlib
import os
import sys
from typing import Any

from prebook.lab.bench.baselines.rpc_client import ANSWER, QUESTION, ask

QUEUE = "yardstick.faststream"


async def answer(body: dict[str, Any]) -> dict[str, Any]:
    del body
    return ANSWER


async def serve(rabbit: Any) -> None:
    broker = rabbit.RabbitBroker(
        os.environ["BENCH_AMQP_URL"], default_channel=rabbit.Channel(prefetch_count=100), logger=None
    )
    broker.subscriber(rabbit.RabbitQueue(QUEUE))(answer)
    await broker.start()
    print("ready", flush=True)  # noqa: T201 - for the process that started us
    await asyncio.Event().wait()


async def call_and_wait(rabbit: Any) -> None:
    broker = rabbit.RabbitBroker(os.environ["BENCH_AMQP_URL"], logger=None)
    await broker.start()

    async def call(_: int) -> None:
        await (await broker.request(QUESTION, queue=QUEUE, timeout=30)).decode()

    await ask(call)
    await broker.stop()


ROLES = {"serve": serve, "ask": call_and_wait}

if __name__ == "__main__":
    importlib.import_module("uvloop").run(ROLES[sys.argv[1]](importlib.import_module("faststream.rabbit")))
