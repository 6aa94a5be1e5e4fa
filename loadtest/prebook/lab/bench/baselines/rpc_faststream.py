"""Request-reply with FastStream, as in its documentation."""

import asyncio
import importlib
import os
import sys
from typing import Any

from prebook.lab.bench.baselines.rpc_client import REPLY_BODY, REQUEST_BODY, measure_calls

QUEUE = "baseline.faststream"


async def reply(body: dict[str, Any]) -> dict[str, Any]:
    """Return a constant reply."""
    del body
    return REPLY_BODY


async def serve(rabbit: Any) -> None:
    """Reply to requests until the process is stopped. ``rabbit``: the module ``faststream.rabbit``."""
    broker = rabbit.RabbitBroker(
        os.environ["BENCH_AMQP_URL"], default_channel=rabbit.Channel(prefetch_count=100), logger=None
    )
    broker.subscriber(rabbit.RabbitQueue(QUEUE))(reply)
    await broker.start()
    print("ready", flush=True)  # noqa: T201 - read by the parent process
    await asyncio.Event().wait()


async def measure(rabbit: Any) -> None:
    """Send requests, wait for each reply, and print the figures. ``rabbit``: the module ``faststream.rabbit``."""
    broker = rabbit.RabbitBroker(os.environ["BENCH_AMQP_URL"], logger=None)
    await broker.start()

    async def call(_: int) -> None:
        await (await broker.request(REQUEST_BODY, queue=QUEUE, timeout=30)).decode()

    await measure_calls(call)
    await broker.stop()


ROLES = {"serve": serve, "measure": measure}

if __name__ == "__main__":
    importlib.import_module("uvloop").run(ROLES[sys.argv[1]](importlib.import_module("faststream.rabbit")))
