"""Process that commits messages at a fixed rate and sends them by its own relay, with the classes of a service."""

import asyncio
import sys
from uuid import uuid4

import uvloop
from prometheus_client import CollectorRegistry

from prebook.coupling.channels import Transports, build_channels
from prebook.coupling.ports import BROKER_ROUTE
from prebook.coupling.reply_waiters import ReplyWaiters
from prebook.http.client import ServiceClient
from prebook.lab.bench.baselines.outbox_writer import commit_at_rate
from prebook.lab.bench.messages import fare_request
from prebook.messaging.gateway import create_gateway
from prebook.messaging.handlers import Handlers
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.unit_of_work import OutboxMessage, UnitsOfWork
from prebook.postgres.engine import create_engines
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.relay_notifier import RelayNotifier
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from prebook.rabbit.publisher import RabbitPublisher
from prebook.runtime import settings
from prebook.runtime.garbage_collection import freeze_long_lived_objects
from prebook.runtime.loops import cancel_and_wait
from prebook.runtime.telemetry import Telemetry

SERVICE = "booking"


async def commit_and_relay() -> None:
    """Commit at a fixed rate, relay, and print the commit times; settings come from os.environ."""
    service_settings, policies = settings.read_settings()
    run_id = uuid4().hex[:8]
    engines = create_engines(SERVICE, service_settings.database_url)
    publisher = RabbitPublisher(service_settings.amqp_url, SERVICE)
    owner = f"prebook-{SERVICE} relay {run_id}"
    observer = Telemetry(CollectorRegistry())
    outbox = SqlOutbox(engines.background, owner)
    relay = Relay(outbox, observer)
    wakeup = RelayNotifier(SERVICE, service_settings.database_url, owner, relay)
    begin = unit_of_work_factory(engines.messaging, SqlUnitOfWork, wakeup.hand_off)
    channels = build_channels(
        Transports(ServiceClient(service_settings.internal_urls), publisher, policies, ReplyWaiters())
    )
    handlers: Handlers[SqlUnitOfWork] = Handlers()
    gateway = create_gateway(SERVICE, handlers, UnitsOfWork.of_one(begin), channels, policies, observer=observer)

    async def commit(number: int) -> None:
        request = fare_request(f"{run_id}.{number}.quote_fare", conversation_id=f"{run_id}-{number}")
        async with begin() as work:
            await work.enqueue([OutboxMessage(request, BROKER_ROUTE, request.conversation_id)])

    async def has_unsent() -> bool:
        return bool((await outbox.read_depth()).waiting)

    loops = [
        asyncio.create_task(run())
        for run in (publisher.connection.run, wakeup.run, lambda: relay.run(gateway.dispatch))
    ]
    await publisher.connection.up.wait()
    freeze_long_lived_objects()
    await commit_at_rate(commit, has_unsent)
    await cancel_and_wait(loops[::-1])
    await engines.dispose()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit("usage: python -m prebook.lab.bench.components.outbox_writer, with booking's environment")
    uvloop.run(commit_and_relay())
