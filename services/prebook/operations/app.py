"""Composition root of the operations service: dead-letter consumer, replay runner, and the API of both."""

from collections import defaultdict
from functools import partial
from typing import Any
from uuid import uuid4

from prebook.flows import OPERATIONS
from prebook.http.inbox_client import inbox_lookup
from prebook.http.operator_guard import guard_operator_routes
from prebook.messaging import addresses
from prebook.messaging.handlers import Handlers
from prebook.messaging.policy import Policies, retry_delays_s
from prebook.messaging.recoverability.dead_letter import DeadLetter
from prebook.operations.dead_letters import api as dead_letters_api
from prebook.operations.dead_letters.body_keeper import BodyKeeper
from prebook.operations.dead_letters.conversation_api import parked_messages_route
from prebook.operations.dead_letters.metrics import refresh_dead_letters
from prebook.operations.dead_letters.recorder import DeadLetterRecorder
from prebook.operations.delay_queue_check import DelayQueueCheck
from prebook.operations.replays import api as replays_api
from prebook.operations.replays.redelivery import TargetsByQueue
from prebook.operations.replays.runner import ReplayPorts, ReplayRunner
from prebook.operations.retention import PURGES
from prebook.operations.sql import OperationsSql
from prebook.rabbit.dead_letter_consumer import DeadLetterConsumer
from prebook.runtime.loops import run_every
from prebook.runtime.retention import INBOX_DEDUP_S
from prebook.runtime.service import Service, ServiceContext, ServiceExtensions
from prebook.runtime.settings import ServiceSettings
from prebook.topology.model import suite_topology
from prebook.topology.sender_check import dead_letter_sender_check

PREFETCH = 20
INBOX_TIMEOUT_S = 3.0


def handlers(_: ServiceSettings) -> Handlers[OperationsSql]:
    """Return no handlers: operations takes part in no flow."""
    return Handlers()


def targets_by_queue(policies: Policies) -> TargetsByQueue:
    """Return the targets that the topology lets operations publish to, by the queue that they lead to."""
    targets: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for grant in suite_topology(retry_delays_s(policies)).message_grants:
        if grant.account == OPERATIONS:
            targets[grant.queue].add((grant.exchange, grant.routing_key))
    return targets


def extensions(context: ServiceContext[Any]) -> ServiceExtensions:
    """Return the API, the consumer of the parking queue, and the loop that advances replays."""
    targets = targets_by_queue(context.policies)
    begin = context.units.messages

    async def record(message: DeadLetter) -> None:
        if not check.is_returned(message):
            await recorder.record(message)

    recorder = DeadLetterRecorder(begin, dead_letter_sender_check(suite_topology(retry_delays_s(context.policies))))
    consumer = DeadLetterConsumer(context.settings.amqp_url, OPERATIONS, addresses.PARKING_QUEUE, PREFETCH, record)
    check = DelayQueueCheck(context.publisher, retry_delays_s(context.policies), consumer.connection.up.is_set)
    ports = ReplayPorts(context.publisher, inbox_lookup(context.http, INBOX_TIMEOUT_S), targets)
    runner = ReplayRunner(begin, ports, uuid4().hex)
    keeper = BodyKeeper(context.units.background, context.http)
    return ServiceExtensions(
        routes=[
            guard_operator_routes(
                [
                    *dead_letters_api.routes(context),
                    *replays_api.routes(context, targets=targets, inbox_dedup_s=INBOX_DEDUP_S),
                ],
                lambda: context.settings.tokens_of_operators,
                context.settings.operator_hosts,
            )
        ],
        internal_routes=[parked_messages_route(context)],
        loops={
            "dead_letter_consumer": consumer.connection.run,
            "replay_runner": runner.run,
            "delay_queue_check": check.run,
            "body_keeper": lambda: run_every(context.settings.claim_check_extension_s, keeper.extend),
        },
        connections={"broker (dead letters)": consumer.connection.up},
        gauge_refreshers=(partial(refresh_dead_letters, begin),),
    )


SERVICE = Service(name=OPERATIONS, handlers=handlers, unit_of_work=OperationsSql, extensions=extensions, purges=PURGES)
