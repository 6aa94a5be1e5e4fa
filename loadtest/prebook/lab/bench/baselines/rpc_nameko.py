"""Request-reply with nameko, on eventlet, which it requires."""

import importlib
import os
import sys
from typing import Any

if __name__ == "__main__":
    importlib.import_module("eventlet").monkey_patch()

from prebook.lab.bench.baselines.rpc_client import REPLY_BODY, REQUEST_BODY, measure_blocking_calls

CONFIG = {"AMQP_URI": os.environ.get("BENCH_AMQP_URL", "")}


def serve() -> None:
    """Run the service until the process is stopped."""
    rpc = importlib.import_module("nameko.rpc").rpc

    def price(_: Any, request: dict[str, Any]) -> dict[str, Any]:
        del request
        return REPLY_BODY

    service = type("Pricing", (), {"name": "baseline_nameko", "price": rpc(price)})
    runner = importlib.import_module("nameko.runners").ServiceRunner({**CONFIG, "max_workers": 100})
    runner.add_service(service)
    runner.start()
    print("ready", flush=True)  # noqa: T201 - read by the parent process
    runner.wait()


def measure() -> None:
    """Call the service, wait for each result, and print the figures."""
    proxy = importlib.import_module("nameko.standalone.rpc").ClusterRpcProxy
    with proxy(CONFIG, timeout=30) as cluster:
        price = cluster.baseline_nameko.price

        def send() -> Any:
            return price.call_async(REQUEST_BODY).result

        measure_blocking_calls(send)


ROLES = {"serve": serve, "measure": measure}

if __name__ == "__main__":
    ROLES[sys.argv[1]]()
