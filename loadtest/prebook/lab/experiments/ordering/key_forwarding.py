"""Experiment: the ordering key in a chain of a topic, a forwarder, and a message group for each subscriber.

Source: Amazon SNS, FIFO topics, whose message group ids the subscribed queues keep; JMS, message groups.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from random import Random

import rich_click as click
from aio_pika.abc import AbstractIncomingMessage

from prebook.contracts.events import OfferSettled
from prebook.flows import OFFER_SETTLED
from prebook.lab.experiments.drawing import message_path
from prebook.lab.experiments.events import offer_settled, offer_settled_envelope
from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section, SizeOption
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.ordering.registration import COMPLETE, LAW
from prebook.lab.experiments.ordering.sequence import (
    KeyDistribution,
    MessageSequence,
    count_incomplete,
    count_overtaking_by_key,
    draw_sequence,
)
from prebook.lab.experiments.ordering.workers import Effect, Workers
from prebook.lab.experiments.patterns.queues import EVENT_KEY
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.experiments.patterns.site import PatternSite, id_of
from prebook.lab.experiments.patterns.size import LOSE_ONLY, PatternSize, defect_option
from prebook.messaging import addresses
from prebook.messaging.addresses import ExchangeName, QueueName
from prebook.messaging.codec import WireMessage, decode, encode
from prebook.messaging.envelope import message_id
from prebook.messaging.headers import HASH_SLOT_HEADER, PARTITION_KEY_HEADER
from prebook.rabbit.amqp_message import from_amqp
from prebook.topology.model import union
from prebook.topology.partitions import partitioned_topology
from prebook.topology.retry_and_dead_letter import with_retry_and_parking
from prebook.topology.values import Binding, Exchange, Queue, Topology

RIGHT = "the key is forwarded"
FALLBACK = "the key is dropped, and the group has a fallback"
WRONG = "the forwarder gives each message a key of its own"
PUBLISHED = ExchangeName("lab.chain.published")
FORWARDED = ExchangeName("lab.chain.forwarded")
FORWARDER = Queue(QueueName("lab.chain.forwarder"))
SUBSCRIBERS = ("pricing", "notification")
PARTITIONS = 4
CONSUMERS = 3
KEYS = 8
MEAN_WORK_S = 0.004


Rewrite = Callable[[WireMessage], WireMessage]
"""Returns a message as the forwarder sends it."""


@dataclass(frozen=True)
class ChainRun:
    """Effects at one subscriber."""

    sequence: MessageSequence
    effects: Sequence[Effect]

    @property
    def violations(self) -> int:
        """Order violations within the keys with which the messages were published."""
        return count_overtaking_by_key(self.effects, self.sequence.keys)

    @property
    def consumers(self) -> int:
        """Number of consumers that handled a message."""
        return len({effect.consumer for effect in self.effects})


def keep_key(wire: WireMessage) -> WireMessage:
    """Return the message with its key."""
    return wire


def drop_key(wire: WireMessage) -> WireMessage:
    """Return the message without the headers of its key, as a forwarder that does not know them sends it."""
    key_headers = {HASH_SLOT_HEADER, PARTITION_KEY_HEADER}
    return WireMessage({name: value for name, value in wire.headers.items() if name not in key_headers}, wire.body)


def replace_key(wire: WireMessage) -> WireMessage:
    """Return the message as the first of a conversation of its own."""
    envelope = decode(wire)
    own = envelope.id
    return encode(replace(envelope, id=message_id(own, OFFER_SETTLED.name), conversation_id=own))


FORWARDERS: Mapping[str, Rewrite] = {
    RIGHT: keep_key,
    FALLBACK: drop_key,
    WRONG: replace_key,
}


async def measure(run: ExperimentRun, size: PatternSize) -> Measurement:
    """Send the same messages through each forwarder to two subscribers with three consumers each."""
    sequence = draw_sequence(
        KeyDistribution.UNIFORM, messages=size.messages, keys=KEYS, mean_work_s=MEAN_WORK_S, rng=Random(run.seed)
    )
    runs = dict[tuple[str, str], ChainRun]()
    async with PatternSite.open(run) as site:
        for arrangement in FORWARDERS:
            run.log(arrangement)
            is_defective = arrangement == RIGHT and size.defect is SeededDefect.LOSE
            workers = {subscriber: Workers(sequence.work_s, read_position) for subscriber in SUBSCRIBERS}
            workers[SUBSCRIBERS[0]].lost = size.messages // 2 if is_defective else -1
            await _send_through(site, arrangement, sequence, workers)
            runs |= {(arrangement, name): ChainRun(sequence, own.effects) for name, own in workers.items()}
    return Measurement(
        checks=[check for (arrangement, name), seen in runs.items() for check in chain_checks(arrangement, name, seen)],
        tables=[_table(runs)],
    )


def chain_checks(arrangement: str, subscriber: str, seen: ChainRun) -> list[LawCheck]:
    """Return the checks of order and completeness at one subscriber."""
    name = f"{arrangement}: {subscriber}"
    expected = LawVerdict.VIOLATED if arrangement == WRONG else LawVerdict.HELD
    incomplete = ("messages", count_incomplete(seen.effects, len(seen.sequence.keys)))
    return [
        check_law(LAW, name, ("order violations", seen.violations), Relation.EQUAL, ("", 0), expected=expected),
        check_law(COMPLETE, name, incomplete, Relation.EQUAL, ("", 0)),
    ]


def read_position(message: AbstractIncomingMessage) -> int:
    """Return the position of a message in its sequence."""
    event = decode(from_amqp(message)).body
    assert isinstance(event, OfferSettled)  # noqa: S101 - the only event of the experiment
    return int(event.driver)


async def _send_through(
    site: PatternSite, arrangement: str, sequence: MessageSequence, workers: Mapping[str, Workers]
) -> None:
    """Publish the sequence, forward it, and return once every subscriber has handled all.

    The subscribers come afterwards: where they are faster than the forwarder, a wrong key would not show.
    """

    async def are_handled() -> bool:
        return all(own.acknowledged >= len(sequence.keys) for own in workers.values())

    await site.publish_encoded(PUBLISHED, EVENT_KEY, _wires(sequence, arrangement, site.token))
    await _forward(site, FORWARDERS[arrangement], len(sequence.keys))
    async with AsyncExitStack() as stack:
        for subscriber, own in workers.items():
            queues = [addresses.partition_queue(group_of(subscriber), number) for number in range(PARTITIONS)]
            await stack.enter_async_context(own.consume(site.broker, queues, CONSUMERS))
        await site.wait_until(are_handled, f"{arrangement}: the effects")


async def _forward(site: PatternSite, rewrite: Rewrite, messages: int) -> None:
    """Forward the messages of the first topic to the second one, one after the other."""
    forwarded = 0

    async def forward(message: AbstractIncomingMessage) -> None:
        nonlocal forwarded
        await site.publisher.publish(FORWARDED, EVENT_KEY, rewrite(from_amqp(message)))
        await message.ack()
        forwarded += 1

    async def are_forwarded() -> bool:
        return forwarded == messages

    async with site.broker.channel() as channel:
        await channel.set_qos(prefetch_count=1)
        queue = await channel.get_queue(FORWARDER.name, ensure=False)
        await queue.consume(forward)
        await site.wait_until(are_forwarded, "the forwarder")


def _wires(sequence: MessageSequence, arrangement: str, token: str) -> list[WireMessage]:
    return [
        encode(
            offer_settled_envelope(
                id_of(key, f"{arrangement} {position}", token),
                offer_settled(key, driver=str(position)),
                conversation_id=key,
            )
        )
        for position, key in enumerate(sequence.keys)
    ]


def group_of(subscriber: str) -> QueueName:
    """Return the address of a subscriber's message group."""
    return QueueName(f"lab.chain.{subscriber}")


def _topology() -> Topology:
    """Return both topics, the forwarder's queue, and the groups of the subscribers."""
    groups = union(partitioned_topology(group_of(name), PARTITIONS, name) for name in SUBSCRIBERS)
    chain = Topology(
        exchanges=frozenset({Exchange(PUBLISHED), Exchange(FORWARDED)}),
        queues=frozenset({FORWARDER}),
        bindings=frozenset(
            {
                Binding(PUBLISHED, EVENT_KEY, FORWARDER.name),
                *(Binding(FORWARDED, EVENT_KEY, group_of(name), to_exchange=True) for name in SUBSCRIBERS),
            }
        ),
    )
    paths = union(message_path(RIGHT, "forwarder", FORWARDED, group_of(name), name) for name in SUBSCRIBERS)
    first = message_path("before it", OFFER_SETTLED.publisher, PUBLISHED, FORWARDER.name, "forwarder")
    return with_retry_and_parking(groups | chain, ()) | first | paths


def _table(runs: Mapping[tuple[str, str], ChainRun]) -> ResultTable:
    return ResultTable.by_arrangement(
        "Order at the subscribers of a topic behind a forwarder",
        ("forwarder: subscriber", "messages", "order violations", "consumers at work"),
        {f"{arrangement}: {subscriber}": seen for (arrangement, subscriber), seen in runs.items()},
        lambda seen: (len(seen.sequence.keys), seen.violations, seen.consumers),
        f"{KEYS} keys; each subscriber has {PARTITIONS} partitions and {CONSUMERS} consumers; "
        "messages without a key go to the first partition",
    )


KEY_FORWARDING = Experiment(
    name="key-forwarding",
    section=Section.ORDERING,
    claims=("F6",),
    pattern="FIFO topics and subscriptions (Amazon SNS); Publish-Subscribe Channel (EIP)",
    code="shared/prebook/topology/partitions.py",
    claim="Every subscriber of a topic has each key in order if every hop of the chain forwards the key.",
    varies="whether a forwarder between two topics keeps the ordering key, drops it, or replaces it",
    law=f"{LAW}; {COMPLETE}",
    wrong_way="the forwarder starts a conversation of its own for each message, which thus has another key",
    expected="With the key forwarded, no subscriber sees a violation; with a key for each message, each of them does.",
    full=PatternSize(),
    quick=PatternSize(messages=100),
    options=(
        SizeOption("messages", click.IntRange(80, 20_000), "Number of messages."),
        defect_option(LOSE_ONLY, "a subscriber acknowledges a message without an effect"),
    ),
    measure=measure,
    topology=_topology(),
)
