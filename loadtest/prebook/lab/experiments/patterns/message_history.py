"""Experiment: Message History. Source: EIP, Message History."""

import time
import timeit
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import rich_click as click

from prebook.coupling.history_publisher import HistoryPublisher, hop_of
from prebook.coupling.ports import Publisher
from prebook.lab.experiments.experiment import (
    Experiment,
    ExperimentRun,
    Measurement,
    ResultTable,
    Section,
    SizeOption,
)
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.patterns import history_receiver
from prebook.lab.experiments.patterns.history_receiver import (
    BACKOFF_S,
    CREATE_HISTORY,
    SERVICE,
    Failures,
    failing_name,
    failures_of,
)
from prebook.lab.experiments.patterns.queues import direct_queue
from prebook.lab.experiments.patterns.site import PatternSite, message, message_names
from prebook.lab.experiments.patterns.size import PATTERN_OPTIONS, PatternSize
from prebook.messaging import addresses
from prebook.messaging.addresses import QueueName
from prebook.messaging.codec import WireMessage
from prebook.messaging.headers import (
    ATTEMPT_HEADER,
    CONVERSATION_ID_HEADER,
    HISTORY_HEADER,
    REPLAY_ID_HEADER,
)
from prebook.patterns.message_history import MAX_HISTORY_CHARS, count_hops, hop, listed_hops, with_hop
from prebook.patterns.retry import jittered_delays_s
from prebook.rabbit.amqp_message import from_amqp
from prebook.replay.redelivery import marked_as_replay
from prebook.topology.values import Queue, Topology

QUEUE = "lab.history"
TAP = Queue(QueueName("lab.history.tap"))
LOOP_QUEUE = "lab.history.loop"
RIGHT = "each publication adds its hop, and the list is bounded"
WRONG = "a list without a bound"
RECORDED = "histories that differ from the hops made = 0"
COUNTED = "hops counted of a message in a loop = hops made"
BOUNDED = f"characters of a history <= {MAX_HISTORY_CHARS}"
REPLAY_ID = "replay-1"
TIMED_PUBLICATIONS = 2_000
TIMED_ROUNDS = 10
KINDS = (
    Failures.ALL_UNTIL_REPLAY,
    Failures.FIRST,
    Failures.FIRST,
    Failures.FIRST_TWO,
    *[Failures.NONE] * 6,
)
"""Failures of ten messages in a row. Too many in a row would pause the receiver, as an outage does."""
Hops = tuple[str, ...]
MadeHops = tuple[frozenset[str], ...]
"""Publications in the life of a message; one that is repeated after a kill may have gone to another delay queue."""
Publication = tuple[str, WireMessage]
"""Exchange, and the message that was published to it."""


class HistorySize(PatternSize, frozen=True, kw_only=True):
    """Size of the experiment, with the number of hops of a message in a loop."""

    messages: int = 200
    loop_hops: int = 1_000


class UnboundedHistoryPublisher(Publisher):
    """Publisher that keeps all hops: the wrong way."""

    def __init__(self, publisher: Publisher, component: str) -> None:
        self._publisher = publisher
        self._component = component

    async def publish(
        self, exchange: str, routing_key: str, message: WireMessage, *, expires_at: datetime | None = None
    ) -> None:
        """Publish the message with one more hop. Raises what the publisher raises."""
        hops = [*filter(None, [message.headers.get(HISTORY_HEADER)]), hop_of(self._component, exchange)]
        wire = WireMessage({**message.headers, HISTORY_HEADER: ";".join(hops)}, message.body)
        await self._publisher.publish(exchange, routing_key, wire, expires_at=expires_at)


async def measure(run: ExperimentRun, size: HistorySize) -> Measurement:
    """Retry, dead-letter and replay messages while their receiver is killed; then send one around in a loop."""
    async with PatternSite.open(run) as site:
        await site.database.execute(CREATE_HISTORY.format(service=SERVICE))
        run.log(RIGHT)
        recorded, made = await _handle(site, size)
        bounded = await _loop(site, HistoryPublisher(site.publisher, "lab"), size.loop_hops)
        run.log(WRONG)
        unbounded = await _loop(site, UnboundedHistoryPublisher(site.publisher, "lab"), size.loop_hops)
    return Measurement(
        checks=[
            history_check(recorded, made),
            check_law(
                COUNTED,
                RIGHT,
                ("counted", count_hops(bounded)),
                Relation.EQUAL,
                ("made", size.loop_hops),
            ),
            _bound_check(RIGHT, bounded, LawVerdict.HELD),
            _bound_check(WRONG, unbounded, LawVerdict.VIOLATED),
        ],
        tables=[
            _hops_table(recorded, made),
            _loop_table(size.loop_hops, {RIGHT: bounded, WRONG: unbounded}),
        ],
    )


def history_check(recorded: Mapping[str, Hops], made: Mapping[str, MadeHops]) -> LawCheck:
    """Return the check that each message's history has exactly the hops that it has made, in their order."""
    differing = sum(not _are_same(recorded.get(name, ()), hops) for name, hops in made.items())
    return check_law(RECORDED, RIGHT, ("differing", differing), Relation.EQUAL, ("", 0))


def _are_same(recorded: Hops, made: MadeHops) -> bool:
    return len(recorded) == len(made) and all(
        one in publications for one, publications in zip(recorded, made, strict=True)
    )


def _bound_check(arrangement: str, history: str, expected: LawVerdict) -> LawCheck:
    sides = ("characters", len(history)), Relation.AT_MOST, ("", MAX_HISTORY_CHARS)
    return check_law(BOUNDED, arrangement, *sides, expected=expected)


async def _handle(site: PatternSite, size: HistorySize) -> tuple[Mapping[str, Hops], Mapping[str, MadeHops]]:
    """Return the hops that were recorded, by message, and those that a tap of the broker has seen."""
    names = [failing_name(name, KINDS[number % len(KINDS)]) for number, name in enumerate(message_names(size.messages))]
    parked = [name for name in names if failures_of(name) is Failures.ALL_UNTIL_REPLAY]
    await _bind_tap(site)
    retried = [name for name in names if failures_of(name) is Failures.FIRST]
    spec = site.receiver_spec(
        RIGHT, QUEUE, service=SERVICE, prefetch=4, defect=size.defect, defective_message=site.random.choice(retried)
    )
    sender = HistoryPublisher(site.publisher, "lab")
    async with site.processes(history_receiver.run, spec) as (process,):
        for name in names:
            await sender.publish(addresses.REDELIVER, QUEUE, message(name, RIGHT, site.token))
        await site.wait_for_effects(RIGHT, names, site.random.uniform(0.2, 0.5))
        process.kill()
        process.join()
    async with site.processes(history_receiver.run, spec):
        await _replay_parked(site, parked)
        await site.wait_until_settled(RIGHT, names, QUEUE)
    rows = await site.database.fetch(f"SELECT message, history FROM {SERVICE}.history WHERE run = $1", RIGHT)  # noqa: S608 - a schema
    recorded = {row["message"]: listed_hops(row["history"]) for row in rows}
    return recorded, made_hops(await _drain(site, TAP.name))


async def _bind_tap(site: PatternSite) -> None:
    """Copy every publication to the receiver's queue, its delay queues and its parking into a queue of the tap."""
    channel = await site.broker.channel()
    tap = await channel.get_queue(TAP.name, ensure=False)
    for exchange in (addresses.REDELIVER, addresses.PARKING, *map(addresses.delay_queue, jittered_delays_s(BACKOFF_S))):
        await tap.bind(exchange, QUEUE)
    await channel.close()


async def _replay_parked(site: PatternSite, names: Sequence[str]) -> None:
    """Send each dead letter to its queue again, as operations does."""
    operations = HistoryPublisher(site.publisher, "operations")
    replayed = set[str]()

    async def are_replayed() -> bool:
        for _, wire in await _drain(site, addresses.PARKING_QUEUE):
            again = marked_as_replay(wire, REPLAY_ID, extra={ATTEMPT_HEADER: "1"})
            await operations.publish(addresses.REDELIVER, QUEUE, again)
            replayed.add(wire.headers[CONVERSATION_ID_HEADER])
        return replayed.issuperset(names)

    await site.wait_until(are_replayed, "the dead letters")


async def _drain(site: PatternSite, queue: str) -> list[Publication]:
    """Take all messages out of a queue, apart from those that the broker has moved by itself."""
    channel = await site.broker.channel()
    source = await channel.get_queue(queue, ensure=False)
    taken = []
    while received := await source.get(no_ack=True, fail=False):
        if "x-death" not in received.headers:
            taken.append((received.exchange or "", from_amqp(received)))
    await channel.close()
    return taken


def made_hops(tapped: Iterable[Publication]) -> Mapping[str, MadeHops]:
    """Return the hops of each message in their order, from the copies that the tap has of its publications.

    A publication that is repeated after the kill has the same place in the life of its message, and counts once. Its
    place follows from its attempt and replay, not from its history.
    """
    places: dict[str, dict[tuple[bool, int, bool], set[str]]] = {}
    for exchange, wire in tapped:
        is_replayed = REPLAY_ID_HEADER in wire.headers
        place = (is_replayed, int(wire.headers[ATTEMPT_HEADER]), exchange == addresses.PARKING)
        sender = "operations" if is_replayed else "lab"
        publisher = sender if exchange == addresses.REDELIVER else SERVICE
        own = places.setdefault(wire.headers[CONVERSATION_ID_HEADER], {})
        own.setdefault(place, set()).add(hop_of(publisher, exchange))
    return {name: tuple(frozenset(hops) for _, hops in sorted(own.items())) for name, own in places.items()}


async def _loop(site: PatternSite, publisher: Publisher, hops: int) -> str:
    """Publish a message and take it out of its queue, over and over; return its history."""
    channel = await site.broker.channel()
    queue = await channel.get_queue(LOOP_QUEUE, ensure=False)
    wire = message("message-loop", "loop", site.token)
    for _ in range(hops):
        await publisher.publish(addresses.REDELIVER, LOOP_QUEUE, wire)
        received = await queue.get(no_ack=True)
        wire = from_amqp(received)
    await channel.close()
    return wire.headers[HISTORY_HEADER]


def publication_cost_us(history: str) -> float:
    """Return the CPU time, in microseconds, that recording a hop adds to the publication of a message."""
    headers = {**message("message-cost", "cost").headers, **({HISTORY_HEADER: history} if history else {})}
    wire = WireMessage(headers, b"")

    def record() -> WireMessage:
        return WireMessage(
            {**wire.headers, HISTORY_HEADER: with_hop(wire.headers.get(HISTORY_HEADER, ""), hop("lab", QUEUE))},
            wire.body,
        )

    rounds_s = timeit.repeat(record, timer=time.process_time, number=TIMED_PUBLICATIONS, repeat=TIMED_ROUNDS)
    return min(rounds_s) / TIMED_PUBLICATIONS * 1e6


def _hops_table(recorded: Mapping[str, Hops], made: Mapping[str, MadeHops]) -> ResultTable:
    def row(failures: Failures) -> tuple[str, ...]:
        names = [name for name in made if failures_of(name) is failures]
        total_made = sum(len(made[name]) for name in names)
        total_recorded = sum(len(recorded.get(name, ())) for name in names)
        return (failures.replace("-", " "), str(len(names)), str(total_made), str(total_recorded))

    return ResultTable(
        title="Hops of messages, seen by a tap of the broker and recorded in the messages",
        columns=("attempts that fail", "messages", "hops made", "hops recorded"),
        rows=tuple(row(failures) for failures in Failures),
        caption="the receiver is killed midway and restarted; where all attempts fail, a dead letter is replayed",
    )


def _loop_table(hops: int, histories: Mapping[str, str]) -> ResultTable:
    return ResultTable.by_arrangement(
        "History of a message in a loop",
        ("arrangement", "hops made", "hops listed", "characters"),
        histories,
        lambda history: (hops, history.count(";") + 1, len(history)),
        f"recording a hop takes {publication_cost_us(''):.1f} us for a new message, "
        f"{publication_cost_us(histories[RIGHT]):.1f} us for one with a full history",
    )


MESSAGE_HISTORY = Experiment(
    name="message-history",
    section=Section.PATTERNS,
    claims=("G7",),
    pattern="Message History (EIP)",
    code="shared/prebook/patterns/message_history.py",
    claim="A message lists the hops that it has made, across retry, dead letter, replay and kill.",
    varies="how often a message fails, and whether the list of its hops has a bound; the receiver is killed",
    law=f"{RECORDED}; {COUNTED}; {BOUNDED}",
    wrong_way="the list has no bound, so a message in a loop grows until it no longer fits into a frame",
    expected="Every history has the hops that a tap of the broker has seen; without a bound, it grows in a loop.",
    full=HistorySize(),
    quick=HistorySize(messages=40, loop_hops=200),
    options=(
        *PATTERN_OPTIONS,
        SizeOption("loop_hops", click.IntRange(100, 3_000), "Number of hops of the message in a loop."),
    ),
    measure=measure,
    topology=direct_queue(RIGHT, QUEUE, SERVICE)
    | direct_queue("in a loop", LOOP_QUEUE, SERVICE)
    | Topology(queues=frozenset({TAP})),
    worker_modules=(history_receiver.__name__,),
)
