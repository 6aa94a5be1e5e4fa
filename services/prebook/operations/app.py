"""Assembles operations: what takes parked messages in, what sends them again, and the HTTP for both."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import msgspec
from litestar.types import ControllerRouterHandler

from prebook.contracts.replays import Admission
from prebook.coupling.ports import Http
from prebook.flows import OPERATIONS
from prebook.messaging import addresses
from prebook.messaging.channel import Unreachable
from prebook.messaging.handlers import Handlers
from prebook.messaging.policy import Policies, backoffs
from prebook.operations.dead_letters import api
from prebook.operations.dead_letters.recorder import Intake
from prebook.operations.metrics import ParkedGauge
from prebook.operations.replays import api
from prebook.operations.replays.redelivery import Allowed
from prebook.operations.replays.runner import Admitted, Replaying, Ways
from prebook.operations.retention import PURGES
from prebook.operations.sql import OperationsSql
from prebook.rabbit.dead_letter_consumer import Collector
from prebook.runtime.retention import KEEP_INBOX_S
from prebook.runtime.service import Beside, Outside, Running, Service
from prebook.runtime.settings import Settings
from prebook.topology.model import suite_topology

PREFETCH, ASK_WITHIN_S = 20, 3.0


def handlers(_: Settings) -> Handlers[OperationsSql]:
    """None: it takes part in no flow."""
    return Handlers()


def allowed(policies: Policies) -> Allowed:
    """Where the topology lets operations publish to."""
    topology = suite_topology(backoffs(policies))
    return {(grant.exchange, grant.key) for grant in topology.grants if grant.service == OPERATIONS}


def routes(running: Running[Any]) -> Sequence[ControllerRouterHandler]:
    queues = {key for exchange, key in allowed(running.policies) if exchange == addresses.REDELIVER}
    replays = api.routes(running, queues=queues, remembered_s=KEEP_INBOX_S)
    return [*api.routes(running), *replays]


def beside(running: Running[Any], outside: Outside) -> Beside:
    """The collector of the parking, and the loop that moves replays on."""
    intake = Intake(running.begin)
    collector = Collector(running.settings.amqp_url, OPERATIONS, addresses.PARKED_QUEUE, PREFETCH, intake.take)
    ways = Ways(outside.publisher, admissions(outside.http), allowed(running.policies))
    replaying = Replaying(running.begin, ways, uuid4().hex)
    return Beside(
        loops={"collector": collector.link.run, "replaying": replaying.run},
        links={"broker (collecting)": collector.link},
        gauges=(ParkedGauge(running.begin).read,),
    )


def admissions(http: Http) -> Admitted:
    """Asks a service's inbox over HTTP."""

    async def admitted(service: str, message_id: str) -> datetime | None:
        path = f"/inbox/{quote(message_id, safe='')}"
        response = await http.request("GET", service, path, headers={}, timeout_s=ASK_WITHIN_S)
        if response.status == 404:  # noqa: PLR2004 - HTTP's own number for it
            return None
        if response.status != 200:  # noqa: PLR2004
            raise Unreachable(f"{service} answered {response.status} when asked for {message_id}")
        return msgspec.json.decode(response.body, type=Admission).admitted_at

    return admitted


SERVICE = Service(name=OPERATIONS, handlers=handlers, work=OperationsSql, api=routes, beside=beside, purges=PURGES)
