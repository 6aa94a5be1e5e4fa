"""Pricing's HTTP endpoint without a database: inbound adapter, gateway, problem responses, metrics and log.

The handler stores nothing, like that of the baseline, so that only the path of request and response is measured.
"""

import os
import sys
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from litestar import Litestar

from prebook.asyncio_tools import OwnedTasks
from prebook.contracts.pricing import FareQuoted, QuoteFare
from prebook.contracts.ride import Money
from prebook.coupling.channels import Transports, build_channels
from prebook.coupling.inbound import InboundGateway
from prebook.coupling.reply_waiters import ReplyWaiters
from prebook.flows import QUOTE_FARE
from prebook.http.app import create_internal_app
from prebook.http.call_guard import guarded_routes
from prebook.http.client import ServiceClient
from prebook.http.inbound import inbound_routes
from prebook.messaging.envelope import Envelope
from prebook.messaging.gateway import create_gateway
from prebook.messaging.handlers import HandlerContext, HandlerResult, Handlers, HandlerSpec
from prebook.messaging.unit_of_work import UnitsOfWork
from prebook.patterns.call_signature import CallRefusal
from prebook.rabbit.publisher import RabbitPublisher
from prebook.runtime import logging, settings
from prebook.runtime.call_secrets import caller_keys
from prebook.runtime.telemetry import Telemetry


class NullUnitOfWork:
    """Unit of work that stores nothing and treats every message as new."""

    async def record_message(self, envelope: Envelope) -> bool:  # noqa: ARG002 - the port's signature
        return True

    async def record_messages(self, envelopes: Sequence[Envelope]) -> list[str]:
        return [envelope.id for envelope in envelopes]

    async def find_received_at(self, message_id: str) -> None: ...
    async def record_request(self, request: Envelope) -> None: ...
    async def find_pending_request(self, flow: str, conversation_id: str) -> None: ...
    async def record_reply(self, reply: Envelope) -> None: ...
    async def find_reply(self, request_id: str) -> None: ...
    async def find_replies(self, request_ids: Collection[str]) -> list[Envelope]:  # noqa: ARG002 - the port's signature
        return []

    async def enqueue(self, messages: Any) -> None: ...
    async def await_replies(self, pending_replies: Any) -> None: ...
    async def stop_polling(self, request_id: str) -> None: ...
    async def store_bodies(self, bodies: Any) -> None: ...
    async def read_body(self, reference: str) -> None: ...
    async def extend_bodies(self, references: Any, lifetime: Any) -> int:  # noqa: ARG002 - the port's signature
        return 0

    async def list_outstanding(self, request_ids: Any) -> list[str]:  # noqa: ARG002 - the port's signature
        return []


@asynccontextmanager
async def begin() -> AsyncIterator[NullUnitOfWork]:
    """Begin a unit of work without a transaction."""
    yield NullUnitOfWork()


async def quote_fare(_: HandlerContext, request: QuoteFare, __: NullUnitOfWork) -> HandlerResult:
    """Return a constant fare."""
    return HandlerResult(
        reply=FareQuoted(fare=Money(cents=2100), discount=Money(cents=0), valid_until=request.pickup_at)
    )


def build_app() -> Litestar:
    """Return the HTTP application; its settings come from os.environ, which holds the environment of a service."""
    service_settings, policies = settings.read_settings()
    waiters = ReplyWaiters()
    observer = Telemetry()
    publisher = RabbitPublisher(service_settings.amqp_url, "bench")
    channels = build_channels(Transports(ServiceClient(service_settings.internal_urls), publisher, policies, waiters))
    handlers = Handlers(on_request={QUOTE_FARE: HandlerSpec(quote_fare)})
    units = UnitsOfWork.of_one(begin)
    gateway = create_gateway("pricing", handlers, units, channels, policies, observer=observer)
    inbound = InboundGateway(gateway, units.messages, waiters, OwnedTasks())
    guarded = guarded_routes(
        inbound_routes("pricing", inbound, policies),
        lambda: caller_keys(service_settings.caller_secrets),
        ignore_refusal,
    )
    return create_internal_app("pricing", [guarded], missing_dependencies=nothing_missing, refresh_gauges=no_gauges)


def ignore_refusal(_: CallRefusal) -> None:
    """Count no refused call."""


async def nothing_missing() -> Mapping[str, str]:
    """Return no missing dependency, so that the application is ready at once."""
    return {}


async def no_gauges() -> None:
    """Refresh no gauges."""


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(
            "usage: python -m prebook.lab.bench.components.http_endpoint, "
            "with a service's environment and BENCH_PORT set"
        )
    logging.configure("pricing", "info")
    port = int(os.environ["BENCH_PORT"])
    uvicorn.run(build_app(), port=port, loop="uvloop", http="httptools", access_log=False, log_config=None)
