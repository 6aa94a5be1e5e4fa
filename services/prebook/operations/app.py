"""Assembles operations: the dead-letter consumer, the replay runner, and the HTTP API of both."""

from datetime import datetime
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import msgspec

from prebook.contracts.replays import InboxRecord
from prebook.coupling.ports import HttpClient
from prebook.flows import OPERATIONS
from prebook.messaging import addresses
from prebook.messaging.errors import Unreachable
from prebook.messaging.handlers import Handlers
from prebook.messaging.policy import Policies, retry_delays_s
from prebook.operations.dead_letters import api as dead_letters_api
from prebook.operations.dead_letters.recorder import DeadLetterRecorder
from prebook.operations.metrics import DeadLetterGauge
from prebook.operations.replays import api as replays_api
from prebook.operations.replays.redelivery import AllowedTargets
from prebook.operations.replays.runner import InboxLookup, ReplayPorts, ReplayRunner
from prebook.operations.retention import PURGES
from prebook.operations.sql import OperationsSql
from prebook.rabbit.dead_letter_consumer import DeadLetterConsumer
from prebook.runtime.retention import INBOX_DEDUP_S
from prebook.runtime.service import Service, ServiceContext, ServiceEdge
from prebook.runtime.settings import ServiceSettings
from prebook.topology.model import suite_topology

PREFETCH, INBOX_TIMEOUT_S = 20, 3.0


def handlers(_: ServiceSettings) -> Handlers[OperationsSql]:
    """Return no handlers: operations takes part in no flow."""
    return Handlers()


def allowed_targets(policies: Policies) -> AllowedTargets:
    """The (exchange, routing key) pairs that the topology grants to operations."""
    topology = suite_topology(retry_delays_s(policies))
    return {(grant.exchange, grant.routing_key) for grant in topology.grants if grant.account == OPERATIONS}


def edge(context: ServiceContext[Any]) -> ServiceEdge:
    """The API, the consumer of the parking queue, and the loop that advances replays."""
    targets = allowed_targets(context.policies)
    queues = {key for exchange, key in targets if exchange == addresses.REDELIVER}
    begin = context.units.messages
    consumer = DeadLetterConsumer(
        context.settings.amqp_url, OPERATIONS, addresses.PARKING_QUEUE, PREFETCH, DeadLetterRecorder(begin).record
    )
    runner = ReplayRunner(begin, ReplayPorts(context.publisher, inbox_lookup(context.http), targets), uuid4().hex)
    return ServiceEdge(
        routes=[
            *dead_letters_api.routes(context),
            *replays_api.routes(context, queues=queues, inbox_dedup_s=INBOX_DEDUP_S),
        ],
        loops={"dead_letter_consumer": consumer.connection.run, "replay_runner": runner.run},
        connections={"broker (dead letters)": consumer.connection.up},
        gauge_refreshers=(DeadLetterGauge(begin).refresh,),
    )


def inbox_lookup(http: HttpClient) -> InboxLookup:
    """Return a function that asks a service over HTTP whether its inbox holds a message."""

    async def look_up_inbox(service: str, message_id: str) -> datetime | None:
        path = f"/inbox/{quote(message_id, safe='')}"
        response = await http.request("GET", service, path, headers={}, timeout_s=INBOX_TIMEOUT_S)
        if response.status == 404:  # noqa: PLR2004 - HTTP's own number for it
            return None
        if response.status != 200:  # noqa: PLR2004
            raise Unreachable(f"{service} answered {response.status} when asked for {message_id}")
        return msgspec.json.decode(response.body, type=InboxRecord).received_at

    return look_up_inbox


SERVICE = Service(name=OPERATIONS, handlers=handlers, unit_of_work=OperationsSql, edge=edge, purges=PURGES)
