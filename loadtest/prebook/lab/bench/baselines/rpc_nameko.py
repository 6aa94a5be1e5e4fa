"""Request-reply with nameko, on eventlet as it wants it."""

import importlib
import os
import sys
from typing import Any

if __name__ == "__main__":
    importlib.import_module("eventlet").monkey_patch()

from prebook.lab.bench.baselines.rpc_client import ANSWER, QUESTION, ask_waiting

AMQP = {"AMQP_URI": os.environ.get("BENCH_AMQP_URL", "")}


def serve() -> None:
    rpc = importlib.import_module("nameko.rpc").rpc

    def price(_: Any, question: dict[str, Any]) -> dict[str, Any]:
        del question
        return ANSWER

    service = type("Pricing", (), {"name": "yardstick_nameko", "price": rpc(price)})
    runner = importlib.import_module("nameko.runners").ServiceRunner({**AMQP, "max_workers": 100})
    runner.add_service(service)
    runner.start()
    print("ready", flush=True)  # noqa: T201 - for the process that started us
    runner.wait()


def call_and_wait() -> None:
    proxy = importlib.import_module("nameko.standalone.rpc").ClusterRpcProxy
    with proxy(AMQP, timeout=30) as cluster:
        price = cluster.yardstick_nameko.price

        def send() -> Any:
            return price.call_async(QUESTION).result

        ask_waiting(send)


ROLES = {"serve": serve, "ask": call_and_wait}

if __name__ == "__main__":
    ROLES[sys.argv[1]]()
