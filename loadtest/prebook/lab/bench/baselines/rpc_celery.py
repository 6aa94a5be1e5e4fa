"""Request-reply with Celery: tasks over AMQP, results over rpc://, one worker in its own process."""

import importlib
import os
import sys
from typing import Any

from prebook.lab.bench.baselines.rpc_client import REPLY_BODY, REQUEST_BODY, measure_blocking_calls

WORKER_ARGUMENTS = [
    "worker",
    "-P",
    "solo",
    "--without-gossip",
    "--without-mingle",
    "--without-heartbeat",
    "-l",
    "ERROR",
]


def build_app() -> tuple[Any, Any]:
    """Return the Celery application and its task."""
    app = importlib.import_module("celery").Celery("bench", broker=os.environ["BENCH_AMQP_URL"], backend="rpc://")
    app.conf.update(
        task_default_queue="baseline.celery",
        task_default_delivery_mode="transient",
        task_ignore_result=False,
        result_persistent=False,
        worker_prefetch_multiplier=100,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
    )

    def price(request: dict[str, Any]) -> dict[str, Any]:
        del request
        return REPLY_BODY

    return app, app.task(name="price")(price)


def serve() -> None:
    """Run the worker until the process is stopped."""
    app, _ = build_app()
    print("ready", flush=True)  # noqa: T201 - read by the parent process
    app.worker_main(WORKER_ARGUMENTS)


def measure() -> None:
    """Send tasks, wait for each result, and print the figures."""
    _, price = build_app()

    def send() -> Any:
        result = price.delay(REQUEST_BODY)
        return lambda: result.get(timeout=30)

    measure_blocking_calls(send)


ROLES = {"serve": serve, "measure": measure}

if __name__ == "__main__":
    ROLES[sys.argv[1]]()
