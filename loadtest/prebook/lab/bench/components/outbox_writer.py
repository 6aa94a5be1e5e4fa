"""A process of ours that commits at its times what its own relay sends: unit of work, outbox, relay and publisher."""

import asyncio
import sys
from uuid import uuid4

import uvloop
from prometheus_client import CollectorRegistry

from prebook.coupling.channels import Transports, channels
from prebook.coupling.ports import BROKER_LANE
from prebook.coupling.reply_waiters import Waiters
from prebook.http.client import HttpCaller
from prebook.lab.bench.baselines.outbox_writer import at_their_times
from prebook.lab.bench.messages import question
from prebook.messaging.endpoint import Endpoint
from prebook.messaging.handlers import Handlers
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.unit_of_work import Posting
from prebook.postgres.engine import engines_for
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.relay_notifier import Wakeup
from prebook.postgres.unit_of_work import SqlWork, units_of_work
from prebook.rabbit.publisher import RabbitPublisher
from prebook.runtime import settings
from prebook.runtime.garbage_collection import spare_what_stays
from prebook.runtime.loops import ended
from prebook.runtime.telemetry import Metrics, Telemetry

SERVICE = "booking"


async def commit_and_send() -> None:
    """By the environment of the service."""
    given, policies = settings.load()
    run, engines = uuid4().hex[:8], engines_for(SERVICE, given.database_url)
    publisher = RabbitPublisher(given.amqp_url, SERVICE)
    owner, watch = f"prebook-{SERVICE} relay {run}", Telemetry(Metrics(CollectorRegistry()))
    outbox = SqlOutbox(engines.upkeep, owner)
    relay = Relay(outbox, lambda row: endpoint.dispatch(row.envelope), watch)
    wakeup = Wakeup(SERVICE, given.database_url, owner, relay)
    begin = units_of_work(engines.work, SqlWork, wakeup.taking)
    ways = channels(Transports(HttpCaller(given.urls), publisher, policies, Waiters(), given.callback_secrets))
    handlers: Handlers[SqlWork] = Handlers()
    endpoint = Endpoint(SERVICE, handlers, begin, ways, policies, watch=watch)

    async def commit(number: int) -> None:
        made = question(f"{run}.{number}.quote_fare", conversation=f"{run}-{number}")
        async with begin() as work:
            await work.post([Posting(made, BROKER_LANE, made.conversation)])

    async def left() -> bool:
        return bool((await outbox.depth()).waiting)

    loops = [asyncio.create_task(run()) for run in (publisher.link.run, wakeup.run, relay.run)]
    await publisher.link.up.wait()
    spare_what_stays()
    await at_their_times(commit, left)
    await ended(loops[::-1])
    await engines.dispose()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit("usage: python -m loadtest.bench.ours.committing, with booking's environment")
    uvloop.run(commit_and_send())
