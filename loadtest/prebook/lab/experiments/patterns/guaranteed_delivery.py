"""Experiment: Guaranteed Delivery. Source: EIP, Guaranteed Delivery; RabbitMQ, Publisher Confirms."""

import asyncio
import random
import signal
from collections.abc import Iterator, Mapping, Sequence

import aio_pika
from aio_pika.abc import DeliveryMode

from prebook.devstack.servers import ServerProcess
from prebook.lab.background import run_in_background
from prebook.lab.experiments.experiment import (
    Experiment,
    ExperimentRun,
    Measurement,
    ResultTable,
    Section,
)
from prebook.lab.experiments.law import LawVerdict, Relation, check_law
from prebook.lab.experiments.patterns.broker_process import BROKER, BROKER_PROCESS
from prebook.lab.experiments.patterns.queues import EVENT_KEY, subscriptions
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.experiments.patterns.site import RECEIVER_SERVICES, message, message_names
from prebook.lab.experiments.patterns.size import PATTERN_OPTIONS, PatternSize
from prebook.messaging import addresses
from prebook.messaging.addresses import QueueName
from prebook.messaging.codec import WireMessage
from prebook.messaging.errors import Undeliverable, Unreachable
from prebook.messaging.headers import CONVERSATION_ID_HEADER
from prebook.rabbit.amqp_message import from_amqp
from prebook.rabbit.publisher import RabbitPublisher
from prebook.topology.values import Queue, Topology

SERVICE = RECEIVER_SERVICES[0]
QUEUE = addresses.event_queue(SERVICE)
"""A queue of the suite, because a new one would not survive: see REGISTRATION_S."""
TRANSIENT_QUEUE = Queue(QueueName("lab.guaranteed.transient"), arguments=())
RIGHT = "persistent and confirmed"
WRONG = "transient, without a confirm"
DELIVERED = "messages sent and not received = 0"
SENDERS = 10
REGISTRATION_S = 2.0
"""Seconds between the declaration of a quorum queue and the kill. The broker writes the name of a new one to its disk
after half a second, and a queue whose name is lost comes back empty and never elects a leader. Source: rabbitmq/ra,
``ra_directory``."""
RETRY_INTERVAL_S = 0.2
SEND_TIMEOUT_S = 180.0


async def measure(run: ExperimentRun, size: PatternSize) -> Measurement:
    """Kill the broker while messages are sent; then count those that were sent and cannot be received."""
    names = message_names(size.messages)
    broker = run.testbed.stack.processes[BROKER]
    url = run.testbed.stack.broker.amqp_url
    await asyncio.sleep(REGISTRATION_S)
    before_kill = int(len(names) * random.Random(run.seed).uniform(0.3, 0.6))
    run.log(f"{WRONG}: {before_kill} messages before the kill")
    await _send_transient(url, names[:before_kill])
    run.log(f"{RIGHT}: the broker is killed after {before_kill} confirms")
    omitted = names[-1] if size.defect is SeededDefect.LOSE else ""
    await ConfirmedSender(url, broker, before_kill, omitted).send(names)
    await _send_transient(url, names[before_kill:])
    received = {RIGHT: await _receive(url, QUEUE), WRONG: await _receive(url, TRANSIENT_QUEUE.name)}
    lost = {name: len(set(names) - own) for name, own in received.items()}
    wrong = LawVerdict.VIOLATED
    return Measurement(
        checks=[
            check_law(DELIVERED, RIGHT, ("lost", lost[RIGHT]), Relation.EQUAL, ("", 0)),
            check_law(DELIVERED, WRONG, ("lost", lost[WRONG]), Relation.EQUAL, ("", 0), expected=wrong),
        ],
        tables=[_table(len(names), received)],
    )


class ConfirmedSender:
    """Sends messages until each is confirmed, and kills the broker after ``kill_after`` confirms.

    ``omitted``: message that counts as sent although nobody sent it, a seeded defect; empty for none.
    """

    def __init__(self, url: str, broker: ServerProcess, kill_after: int, omitted: str) -> None:
        self._publisher = RabbitPublisher(url, "lab")
        self._broker = broker
        self._kill_after = kill_after
        self._omitted = omitted
        self._confirmed = 0
        self._killed = asyncio.Event()

    async def send(self, names: Sequence[str]) -> None:
        """Send all messages, SENDERS at a time, and restart the broker. Raises TimeoutError."""
        pending = iter(names)
        async with run_in_background(self._publisher.connection.run()):
            await self._publisher.connection.up.wait()
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S), asyncio.TaskGroup() as tasks:
                    for _sender in range(SENDERS):
                        tasks.create_task(self._send_pending(pending))
                    tasks.create_task(self._restart_once_killed())
            finally:
                await self._restart()

    async def _send_pending(self, pending: Iterator[str]) -> None:
        for name in pending:
            if name != self._omitted:
                await self._send_until_confirmed(message(name, RIGHT))
            self._confirmed += 1
            if self._confirmed == self._kill_after:
                self._kill()

    async def _send_until_confirmed(self, wire: WireMessage) -> None:
        """Repeat a message that was not confirmed, as the relay does. A starting broker has no queue yet."""
        while True:
            try:
                return await self._publisher.publish(addresses.EVENTS, EVENT_KEY, wire)
            except (Unreachable, Undeliverable):
                await asyncio.sleep(RETRY_INTERVAL_S)

    def _kill(self) -> None:
        """Kill the broker with SIGKILL while the other senders wait for their confirms."""
        if self._broker.child:
            self._broker.child.send_signal(signal.SIGKILL)
        self._killed.set()

    async def _restart_once_killed(self) -> None:
        await self._killed.wait()
        await self._restart()

    async def _restart(self) -> None:
        """Restart the killed broker, unless it has been restarted: later experiments need it too."""
        if self._killed.is_set():
            self._killed.clear()
            if self._broker.child:
                await self._broker.child.kill()
            await self._broker.restart()


async def _send_transient(url: str, names: Sequence[str]) -> None:
    """Send messages that the broker keeps in memory only, and go on without its confirms."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=False)
        for name in names:
            wire = message(name, WRONG)
            transient = aio_pika.Message(wire.body, headers={**wire.headers}, delivery_mode=DeliveryMode.NOT_PERSISTENT)
            await channel.default_exchange.publish(transient, TRANSIENT_QUEUE.name)


async def _receive(url: str, queue: str) -> set[str]:
    """Take all messages out of a queue; return their names."""
    names = set[str]()
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        source = await channel.get_queue(queue, ensure=False)
        while received := await source.get(no_ack=True, fail=False):
            names.add(from_amqp(received).headers[CONVERSATION_ID_HEADER])
    return names


def _table(sent: int, received: Mapping[str, set[str]]) -> ResultTable:
    return ResultTable.by_arrangement(
        "Messages received after the broker was killed",
        ("messages", "sent", "received"),
        received,
        lambda own: (sent, len(own)),
        "the broker is killed with SIGKILL while confirms are outstanding, and restarted on its data",
    )


GUARANTEED_DELIVERY = Experiment(
    name="guaranteed-delivery",
    section=Section.PATTERNS,
    claims=("C3", "F11"),
    pattern="Guaranteed Delivery (EIP)",
    code="shared/prebook/rabbit/publisher.py",
    claim="A persistent message that the broker has confirmed is received, even if the broker is killed right after.",
    varies="whether messages are persistent and repeated until they are confirmed; the broker is killed",
    law=DELIVERED,
    wrong_way="transient messages whose sender goes on without a confirm",
    expected="Every confirmed message is there after the restart; transient ones from before the kill are gone.",
    full=PatternSize(),
    quick=PatternSize(messages=100),
    options=PATTERN_OPTIONS,
    measure=measure,
    topology=subscriptions(RIGHT, addresses.EVENTS, {QUEUE: SERVICE}) | Topology(queues=frozenset({TRANSIENT_QUEUE})),
    prerequisites=(BROKER_PROCESS,),
)
