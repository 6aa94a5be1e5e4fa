"""Requester and replier processes: several requesters send requests to one replier, which replies out of order."""

import asyncio
import random
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

import aio_pika
import msgspec
from aio_pika.abc import AbstractIncomingMessage

from prebook.contracts.fleets import AskFleet, FleetDeclined
from prebook.contracts.message import Message
from prebook.contracts.plan import Coupling
from prebook.contracts.pricing import FareQuoted, QuoteFare
from prebook.contracts.ride import Money, Place, VehicleClass
from prebook.coupling.request_reply import RequestReply
from prebook.flows import ASK_FLEET, FLOWS, QUOTE_FARE
from prebook.lab.background import run_in_background
from prebook.lab.experiments import worker
from prebook.lab.experiments.worker import ReadinessFile, WorkerContext
from prebook.messaging import addresses
from prebook.messaging.addresses import QueueName
from prebook.messaging.clock import utc_now
from prebook.messaging.codec import decode, encode
from prebook.messaging.envelope import Envelope, MessageKind, message_id, request_id_of
from prebook.rabbit.amqp_message import from_amqp
from prebook.rabbit.publisher import RabbitPublisher

TIMEOUT_S = 300.0
PREFETCH = 16
MAX_WORK_MS = 20.0
"""Longest time that a reply takes; it varies, so that replies overtake each other."""
SHARED_QUEUE = QueueName("lab.replies.shared")
"""Queue of all replies without a return address."""
PLAN = dict.fromkeys(FLOWS, Coupling.REQUEST_REPLY)
PLACE = Place(lat=52.5, lon=13.4)
REQUESTERS: Mapping[str, str] = {QUOTE_FARE.caller: QUOTE_FARE.name, ASK_FLEET.caller: ASK_FLEET.name}
"""Requesting service -> flow of its requests."""


class ReplyMatching(StrEnum):
    """Way in which replies find their requests."""

    ADDRESSED = "addressed"
    """Own reply queue of each requester, and the request's id in the reply."""
    BY_ARRIVAL = "by_arrival"
    """One queue for all replies; the oldest open request is taken for the one that a reply answers."""


class ConversationSpec(ReadinessFile, msgspec.Struct, frozen=True, kw_only=True):
    """Arguments of one process. ``service``: the requester, or empty for the replier.

    ``result_path``: file with one line per reply: the request that it was taken for, and the one that it answers.
    ``omitted``: conversation whose request the replier acknowledges without a reply; empty for none.
    """

    matching: ReplyMatching
    service: str
    requests: int
    amqp_url: str
    env: Mapping[str, str]
    ready_path: str
    result_path: str
    log_file: str
    omitted: str = ""

    def read_replies(self) -> list[tuple[str, str]]:
        """Return the request that each reply was taken for, and the one that it answers."""
        path = Path(self.result_path)
        lines = path.read_text().splitlines() if path.exists() else []
        return [(asked, answered) for asked, _, answered in (line.partition(" ") for line in lines)]


class Requester:
    """Sends all requests, and matches the replies."""

    def __init__(self, spec: ConversationSpec) -> None:
        self._spec = spec
        self._publisher = RabbitPublisher(spec.amqp_url, spec.service)
        self._channel = RequestReply(self._publisher)
        requests = [self._new_request(number) for number in range(spec.requests)]
        self._open = {request.id: request for request in requests}
        self._results = Path(spec.result_path).open("a", buffering=1)  # noqa: SIM115 - open until the process ends

    async def run(self) -> None:
        """Send the requests once the replies are consumed; then consume until the process is killed."""
        requests = list(self._open.values())
        queue = addresses.reply_queue(self._spec.service)
        if self._spec.matching is ReplyMatching.BY_ARRIVAL:
            queue = SHARED_QUEUE
        async with (
            run_in_background(self._publisher.connection.run()),
            await aio_pika.connect(self._spec.amqp_url) as connection,
        ):
            await self._publisher.connection.up.wait()
            replies = await (await connection.channel()).get_queue(queue, ensure=False)
            await replies.consume(self._receive)
            self._spec.mark_ready()
            for request in requests:
                await self._channel.send(request)
            await asyncio.Event().wait()

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        reply = decode(from_amqp(message))
        asked = self._match(reply)
        if asked:
            del self._open[asked.id]
            self._results.write(f"{asked.conversation_id} {reply.conversation_id}\n")
        await message.ack()

    def _match(self, reply: Envelope) -> Envelope | None:
        """Return the open request that a reply is taken for; None for a repeated reply."""
        if self._spec.matching is ReplyMatching.ADDRESSED:
            return self._open.get(request_id_of(reply.id))
        return next(iter(self._open.values()), None)

    def _new_request(self, number: int) -> Envelope:
        flow = REQUESTERS[self._spec.service]
        conversation_id = f"{self._spec.service}-{number:04}"
        return Envelope(
            id=message_id(conversation_id, flow),
            kind=MessageKind.REQUEST,
            flow=flow,
            body=_request_body(flow),
            source=self._spec.service,
            conversation_id=conversation_id,
            time=utc_now(),
            plan=PLAN,
            reply_to=self._spec.service,
        )


class Replier:
    """Replies to the requests of all requesters, several at a time."""

    def __init__(self, spec: ConversationSpec) -> None:
        self._spec = spec
        self._publisher = RabbitPublisher(spec.amqp_url, "lab")
        self._channel = RequestReply(self._publisher)

    async def run(self) -> None:
        """Reply until the process is killed."""
        async with (
            run_in_background(self._publisher.connection.run()),
            await aio_pika.connect(self._spec.amqp_url) as connection,
        ):
            await self._publisher.connection.up.wait()
            for flow in REQUESTERS.values():
                channel = await connection.channel()
                await channel.set_qos(prefetch_count=PREFETCH)
                queue = addresses.request_queue(FLOWS[flow].provider, flow)
                await (await channel.get_queue(queue, ensure=False)).consume(self._receive)
            self._spec.mark_ready()
            await asyncio.Event().wait()

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        request = decode(from_amqp(message))
        await asyncio.sleep(random.uniform(0.0, MAX_WORK_MS / 1000))
        if request.conversation_id != self._spec.omitted:
            await self._reply(
                request.reply_with(_reply_body(request.flow), source=FLOWS[request.flow].provider, at=utc_now())
            )
        await message.ack()

    async def _reply(self, reply: Envelope) -> None:
        if self._spec.matching is ReplyMatching.ADDRESSED:
            await self._channel.reply(reply)
        else:
            await self._publisher.publish(addresses.REDELIVER, SHARED_QUEUE, encode(reply))


def _request_body(flow: str) -> Message:
    pickup_at = utc_now() + timedelta(days=1)
    if flow == QUOTE_FARE.name:
        return QuoteFare(
            pickup=PLACE, dropoff=PLACE, pickup_at=pickup_at, vehicle_class=VehicleClass.STANDARD, passengers=1
        )
    return AskFleet(
        fleet="lab",
        pickup=PLACE,
        pickup_at=pickup_at,
        ride_minutes=10,
        vehicle_class=VehicleClass.STANDARD,
        passengers=1,
    )


def _reply_body(flow: str) -> Message:
    if flow == QUOTE_FARE.name:
        return FareQuoted(fare=Money(cents=1000), discount=Money(cents=0), valid_until=utc_now() + timedelta(minutes=5))
    return FleetDeclined(fleet="lab", reason="no driver")


def run(spec: ConversationSpec) -> None:
    """Entry point of a requester or of the replier."""

    async def work(_: WorkerContext) -> None:
        await (Requester(spec).run() if spec.service else Replier(spec).run())

    worker.run_worker(spec.service or FLOWS[QUOTE_FARE.name].provider, spec, work, timeout_s=TIMEOUT_S)
