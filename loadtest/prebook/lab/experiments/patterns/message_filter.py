"""Experiment: Message Filter. Source: EIP, Message Filter."""

from collections.abc import Mapping
from dataclasses import dataclass

from prebook.contracts.events import BookingConfirmed
from prebook.flows import BOOKING_CONFIRMED
from prebook.lab.experiments.drawing import message_path
from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.patterns import filtering_receiver, receiver
from prebook.lab.experiments.patterns.confirmed_rides import confirmed_rides, ride_message
from prebook.lab.experiments.patterns.filtering_receiver import (
    DROPPED,
    MIN_DISTANCE_M,
    MIN_FARE_CENTS,
    is_extraordinary,
)
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.experiments.patterns.site import RECEIVER_SERVICES, PatternSite, message_names
from prebook.lab.experiments.patterns.size import PATTERN_OPTIONS, PatternSize
from prebook.messaging import addresses
from prebook.messaging.addresses import ExchangeName, QueueName
from prebook.messaging.codec import WireMessage
from prebook.messaging.headers import CONVERSATION_ID_HEADER, DISTANCE_BAND_HEADER, FARE_BAND_HEADER
from prebook.messaging.routing_headers import DISTANCE_BOUNDS_M, FARE_BOUNDS_CENTS
from prebook.patterns.message_filter import MessageFilter, Threshold
from prebook.topology.content_based_routing import Inlet, filter_topology
from prebook.topology.model import union
from prebook.topology.ride_subscriptions import CONFIRMED_RIDES
from prebook.topology.values import Binding, Exchange, Queue, Topology

SERVICE = RECEIVER_SERVICES[0]
SUBSCRIBER = "subscriber"
RIGHT = "filtered at the broker"
WRONG = "filtered in the consumer"
FILTER = QueueName("lab.filter")
REJECTED = QueueName("lab.filter.rejected")
"""Queue of the messages that the broker's filter does not pass, to count them. In the suite they are dropped."""
UNFILTERED = QueueName("lab.filter.all")
INLETS = {
    RIGHT: Inlet(ExchangeName("lab.filter.events"), CONFIRMED_RIDES.routing_key),
    WRONG: Inlet(addresses.exchange_before(UNFILTERED), "#"),
}
QUEUES = {RIGHT: FILTER, WRONG: UNFILTERED}
CONSERVED = "messages passed + dropped = messages sent"
MATCHING = "messages on the wrong side of the filter = 0"
BYTES = "bytes delivered to the subscriber <= bytes of the messages that match"


@dataclass(frozen=True)
class Filtered:
    """Names of the messages that passed and were dropped. ``delivered_bytes``: bytes that the subscriber received."""

    passed: frozenset[str]
    dropped: frozenset[str]
    delivered_bytes: int


async def measure(run: ExperimentRun, size: PatternSize) -> Measurement:
    """Send confirmed rides to a subscriber of extraordinary ones, which is killed; filter at the broker, then in it."""
    async with PatternSite.open(run) as site:
        rides = confirmed_rides(message_names(size.messages), run.seed)
        run.log(RIGHT)
        at_broker = await _filter(site, RIGHT, rides, size.defect)
        run.log(WRONG)
        in_consumer = await _filter(site, WRONG, rides, SeededDefect.NONE)
    matching_bytes = sum(
        message_bytes(ride_message(ride, RIGHT, site.token)) for ride in rides.values() if is_extraordinary(ride)
    )
    return Measurement(
        checks=[
            *filter_checks(RIGHT, rides, at_broker),
            _byte_check(RIGHT, at_broker, matching_bytes, LawVerdict.HELD),
            *filter_checks(WRONG, rides, in_consumer),
            _byte_check(WRONG, in_consumer, matching_bytes, LawVerdict.VIOLATED),
        ],
        tables=[_table(len(rides), {RIGHT: at_broker, WRONG: in_consumer})],
    )


def filter_checks(arrangement: str, rides: Mapping[str, BookingConfirmed], found: Filtered) -> list[LawCheck]:
    """Return the checks that every message has passed or was dropped, and that those that passed are the right ones."""
    total = len(found.passed) + len(found.dropped)
    astray = sum(not is_extraordinary(rides[name]) for name in found.passed)
    astray += sum(is_extraordinary(rides[name]) for name in found.dropped)
    return [
        check_law(CONSERVED, arrangement, ("passed + dropped", total), Relation.EQUAL, ("sent", len(rides))),
        check_law(MATCHING, arrangement, ("astray", astray), Relation.EQUAL, ("", 0)),
    ]


def _byte_check(arrangement: str, found: Filtered, matching_bytes: int, expected: LawVerdict) -> LawCheck:
    sides = ("delivered", found.delivered_bytes), Relation.AT_MOST, ("matching", matching_bytes)
    return check_law(BYTES, arrangement, *sides, expected=expected)


async def _filter(
    site: PatternSite, arrangement: str, rides: Mapping[str, BookingConfirmed], defect: SeededDefect
) -> Filtered:
    """Filter the rides; kill the subscriber midway, and restart it."""
    messages = {name: ride_message(ride, arrangement, site.token) for name, ride in rides.items()}
    matching = [name for name, ride in rides.items() if is_extraordinary(ride)]
    spec = site.receiver_spec(
        arrangement,
        QUEUES[arrangement],
        service=SERVICE,
        receiver=SUBSCRIBER,
        defect=defect,
        defective_message=site.random.choice(matching),
    )
    run = receiver.run if arrangement == RIGHT else filtering_receiver.run
    expected = [(SUBSCRIBER, name) for name in matching]
    if arrangement == WRONG:
        expected += [(DROPPED, name) for name in messages.keys() - set(matching)]
    inlet = INLETS[arrangement]
    async with site.processes(run, spec) as (process,):
        await site.publish_encoded(inlet.exchange, CONFIRMED_RIDES.routing_key, list(messages.values()))
        await site.wait_for_effects(arrangement, matching, site.random.uniform(0.2, 0.5))
        process.kill()
        process.join()
    async with site.processes(run, spec):
        await site.wait_until_drained(arrangement, expected, [spec.queue])
    effects = await site.read_effects(arrangement)
    passed = frozenset(each.message for each in effects if each.receiver == SUBSCRIBER)
    dropped = frozenset(each.message for each in effects if each.receiver == DROPPED)
    received = passed | dropped
    if arrangement == RIGHT:
        dropped = await _take_rejected(site)
    return Filtered(passed, dropped, sum(message_bytes(messages[name]) for name in received))


async def _take_rejected(site: PatternSite) -> frozenset[str]:
    channel = await site.broker.channel()
    queue = await channel.get_queue(REJECTED, ensure=False)
    names = set[str]()
    while message := await queue.get(no_ack=True, fail=False):
        names.add(str(message.headers[CONVERSATION_ID_HEADER]))
    await channel.close()
    return frozenset(names)


def message_bytes(wire: WireMessage) -> int:
    """Return the bytes of a message's headers and body."""
    return len(wire.body) + sum(len(name) + len(value.encode()) for name, value in wire.headers.items())


def _table(sent: int, found: Mapping[str, Filtered]) -> ResultTable:
    least = max(1, found[RIGHT].delivered_bytes)

    def cells(own: Filtered) -> tuple[object, ...]:
        times = f"{own.delivered_bytes / least:.1f}"
        return sent, len(own.passed), len(own.dropped), f"{own.delivered_bytes:,}", times

    return ResultTable.by_arrangement(
        "Extraordinary rides of all confirmed rides",
        ("arrangement", "sent", "passed", "dropped", "bytes delivered", "times as many"),
        found,
        cells,
        f"fare from {MIN_FARE_CENTS} cents or distance from {MIN_DISTANCE_M} m; bytes of headers and bodies; "
        "the subscriber is killed midway and restarted",
    )


def _topology() -> Topology:
    message_filter = MessageFilter(
        (
            Threshold(FARE_BAND_HEADER, MIN_FARE_CENTS, FARE_BOUNDS_CENTS),
            Threshold(DISTANCE_BAND_HEADER, MIN_DISTANCE_M, DISTANCE_BOUNDS_M),
        )
    )
    rejected = Topology(
        exchanges=frozenset({Exchange(addresses.exchange_before(REJECTED), internal=True)}),
        queues=frozenset({Queue(REJECTED)}),
        bindings=frozenset({Binding(addresses.exchange_before(REJECTED), "#", REJECTED)}),
    )
    unfiltered = Topology(
        exchanges=frozenset({Exchange(addresses.exchange_before(UNFILTERED))}),
        queues=frozenset({Queue(UNFILTERED)}),
        bindings=frozenset({Binding(addresses.exchange_before(UNFILTERED), "#", UNFILTERED)}),
    )
    paths = (
        message_path(arrangement, BOOKING_CONFIRMED.publisher, INLETS[arrangement].exchange, queue, SERVICE)
        for arrangement, queue in QUEUES.items()
    )
    filtered = filter_topology(FILTER, message_filter, INLETS[RIGHT], alternate_exchange=REJECTED)
    return union([filtered, rejected, unfiltered, *paths])


MESSAGE_FILTER = Experiment(
    name="message-filter",
    section=Section.PATTERNS,
    claims=("D2",),
    pattern="Message Filter (EIP)",
    code="shared/prebook/patterns/message_filter.py",
    claim="A filter at the broker passes what matches, drops the rest, and delivers nothing that is dropped.",
    varies="whether the broker or the consumer filters; the subscriber is killed and restarted",
    law=f"{CONSERVED}; {MATCHING}; {BYTES}",
    wrong_way="the consumer filters: the same rides pass, but all of them are delivered to it",
    expected="Both pass the same rides; with the filter in the consumer, it receives many times the bytes.",
    full=PatternSize(),
    quick=PatternSize(messages=100),
    options=PATTERN_OPTIONS,
    measure=measure,
    topology=_topology(),
    worker_modules=(receiver.__name__, filtering_receiver.__name__),
)
