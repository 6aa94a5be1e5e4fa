"""Experiment: what a message that always fails costs, with a delay before each attempt and with a requeue at once.

Source: RabbitMQ, Consumer Acknowledgements, "requeue"; Builders' Library, Timeouts, retries and backoff with jitter.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import rich_click as click

from prebook.devstack.parameters import FiniteRange
from prebook.flows import OFFER_SETTLED
from prebook.lab.background import run_in_background
from prebook.lab.experiments.drawing import message_path
from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section, SizeOption
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.patterns.broker_process import BROKER_PROCESS, broker_process
from prebook.lab.experiments.patterns.queues import direct_queue
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.experiments.patterns.site import PatternSite, message_names
from prebook.lab.experiments.patterns.size import LOSE_ONLY, PatternSize, defect_option
from prebook.lab.experiments.retries import failing_receiver, requeueing_receiver
from prebook.lab.experiments.retries.failing_receiver import (
    CREATE_ATTEMPT,
    MAX_ATTEMPTS,
    SERVICE,
    wait_for_dead_letters,
)
from prebook.lab.experiments.retries.requeueing_receiver import RequeueingReceiverSpec
from prebook.lab.experiments.timer_lag import TimerLag
from prebook.lab.process_tree import read_cpu_ms
from prebook.messaging import addresses
from prebook.messaging.addresses import QueueName
from prebook.topology.values import Binding, Exchange, Queue, Topology, arguments

RIGHT = "a delay before each attempt, and a limit"
WRONG = "requeued at once, without a limit"
QUEUES = {RIGHT: "lab.poison.delayed", WRONG: "lab.poison.requeued"}
BOUNDED = f"deliveries of a message that always fails <= {MAX_ATTEMPTS}"
PARKED = "messages that always fail and are parked = all of them"
CHEAP = "processor time while only failing messages are left <= 1/4 of a processor"
MAX_PROCESSORS = 0.25
POISONS = [f"poison-{number}.{MAX_ATTEMPTS}" for number in range(2)]
"""Messages that fail at every attempt; the receiver takes more than that at a time, so the others are handled."""
SELECT_ATTEMPTS = f"SELECT message FROM {SERVICE}.attempt"  # noqa: S608 - a schema


class HotSize(PatternSize, frozen=True, kw_only=True):
    """Size of the experiment: seconds of observation, and the messages that do not fail."""

    messages: int = 100
    seconds: float = 8.0


@dataclass(frozen=True)
class PoisonCost:
    """Cost of messages that always fail. ``deliveries``: of each of them, in the whole run."""

    deliveries: Mapping[str, int]
    parked: int
    handled: int
    """Number of other messages that were handled."""
    per_s: float
    """Deliveries per second and failing message while only failing messages were left."""
    processors: Mapping[str, float]
    """Processor time per second in the same time, by process."""


async def measure(run: ExperimentRun, size: HotSize) -> Measurement:
    """Let messages that always fail wait among others in either arrangement, and observe them afterwards."""
    lag = TimerLag()
    async with PatternSite.open(run) as site, run_in_background(lag.watch()):
        await site.database.execute(CREATE_ATTEMPT.format(service=SERVICE))
        run.log(RIGHT)
        delayed = await _delay(site, size)
        run.log(WRONG)
        requeued = await _requeue(site, size)
    return Measurement(
        checks=[*cost_checks(RIGHT, delayed, lag.doubt), *cost_checks(WRONG, requeued, lag.doubt)],
        tables=[_table(size, {RIGHT: delayed, WRONG: requeued})],
    )


def cost_checks(arrangement: str, cost: PoisonCost, doubt: str) -> Iterable[LawCheck]:
    """Yield the checks of an arrangement: deliveries, parking and processor time.

    The wrong way takes all that a quiet machine has, and what a busy one leaves: it is not judged by that.
    """
    expected = LawVerdict.VIOLATED if arrangement == WRONG else LawVerdict.HELD
    most = ("most deliveries", max(cost.deliveries.values(), default=0))
    yield check_law(BOUNDED, arrangement, most, Relation.AT_MOST, ("", MAX_ATTEMPTS), expected=expected)
    parked = ("parked", cost.parked)
    yield check_law(PARKED, arrangement, parked, Relation.EQUAL, ("", len(POISONS)), expected=expected)
    if arrangement == RIGHT:
        processors = ("processors", round(sum(cost.processors.values()), 3))
        yield check_law(CHEAP, arrangement, processors, Relation.AT_MOST, ("", MAX_PROCESSORS), doubt=doubt)


async def _delay(site: PatternSite, size: HotSize) -> PoisonCost:
    """Return the cost at the suite's consumer, which parks a message after its last attempt."""
    spec = site.receiver_spec(RIGHT, QUEUES[RIGHT], service=SERVICE, prefetch=failing_receiver.PREFETCH)
    others = _others(size)
    sent = POISONS[:-1] if size.defect is SeededDefect.LOSE else POISONS

    async def read_deliveries() -> Counter[str]:
        return Counter(row["message"] for row in await site.database.fetch(SELECT_ATTEMPTS))

    async with site.processes(failing_receiver.run, spec) as (process,):
        await site.publish(addresses.REDELIVER, QUEUES[RIGHT], [*sent, *others], RIGHT)
        per_s, processors = await _observe(site, size, others, read_deliveries, process.pid)
        await wait_for_dead_letters(site, len(sent))
    return _cost(await read_deliveries(), await site.count_ready(addresses.PARKING_QUEUE), per_s, processors)


async def _requeue(site: PatternSite, size: HotSize) -> PoisonCost:
    """Return the cost at a consumer that requeues a failing message, which the broker delivers again at once."""
    plain = site.receiver_spec(WRONG, QUEUES[WRONG], service=SERVICE)
    spec = RequeueingReceiverSpec(**msgspec.structs.asdict(plain), deliveries_path=f"{plain.log_file}.deliveries")
    others = _others(size)
    parked_before = await site.count_ready(addresses.PARKING_QUEUE)

    async def read_deliveries() -> Counter[str]:
        return Counter(spec.read_deliveries())

    async with site.processes(requeueing_receiver.run, spec) as (process,):
        await site.publish(addresses.REDELIVER, QUEUES[WRONG], [*POISONS, *others], WRONG)
        per_s, processors = await _observe(site, size, others, read_deliveries, process.pid)
    parked = await site.count_ready(addresses.PARKING_QUEUE) - parked_before
    return _cost(await read_deliveries(), parked, per_s, processors)


async def _observe(
    site: PatternSite,
    size: HotSize,
    others: Sequence[str],
    read_deliveries: Callable[[], Awaitable[Counter[str]]],
    receiver: int | None,
) -> tuple[float, Mapping[str, float]]:
    """Wait until all others are delivered; return deliveries per second and failing message, and processor times."""

    async def are_delivered() -> bool:
        return set(others) <= (await read_deliveries()).keys()

    await site.wait_until(are_delivered, "the messages that do not fail")
    roots = {"broker": broker_process(site.run.testbed).pid, "receiver": receiver or 0}
    before, cpu_ms = await read_deliveries(), read_cpu_ms(roots)
    await asyncio.sleep(size.seconds)
    after, cpu_after_ms = await read_deliveries(), read_cpu_ms(roots)
    failed = sum(after[name] - before[name] for name in POISONS)
    used = {name: (cpu_after_ms[name] - cpu_ms[name]) / 1000 / size.seconds for name in roots}
    return failed / size.seconds / len(POISONS), used


def _others(size: HotSize) -> list[str]:
    return [f"{name}.0" for name in message_names(size.messages)]


def _cost(deliveries: Counter[str], parked: int, per_s: float, processors: Mapping[str, float]) -> PoisonCost:
    poisons = {name: deliveries[name] for name in POISONS if deliveries[name]}
    return PoisonCost(poisons, parked, len(deliveries) - len(poisons), per_s, processors)


def _table(size: HotSize, costs: Mapping[str, PoisonCost]) -> ResultTable:
    return ResultTable.by_arrangement(
        "Messages that always fail, among others",
        (
            "failing messages are",
            "most deliveries of one",
            "deliveries/s and message",
            "processors of the broker",
            "of the receiver",
            "parked",
            "others handled",
        ),
        costs,
        lambda cost: (
            f"{max(cost.deliveries.values()):,}",
            f"{cost.per_s:,.1f}",
            f"{cost.processors['broker']:.2f}",
            f"{cost.processors['receiver']:.2f}",
            f"{cost.parked} of {len(POISONS)}",
            f"{cost.handled} of {size.messages}",
        ),
        f"rates and processor time of {size.seconds:g} s in which only failing messages are left",
    )


def _unlimited_queue() -> Topology:
    """Return a classic queue, which counts no deliveries: a quorum queue of the suite gives up after some of them."""
    name = QueueName(QUEUES[WRONG])
    path = message_path(WRONG, OFFER_SETTLED.publisher, addresses.REDELIVER, name, SERVICE)
    return path | Topology(
        exchanges=frozenset({Exchange(addresses.REDELIVER)}),
        queues=frozenset({Queue(name, arguments(x_queue_type="classic"))}),
        bindings=frozenset({Binding(addresses.REDELIVER, name, name)}),
    )


HOT_REQUEUE = Experiment(
    name="hot-requeue",
    section=Section.ERRORS,
    claims=("G5",),
    pattern="Retry with backoff and a limit (Builders' Library); Dead Letter Channel (EIP)",
    code="shared/prebook/messaging/recoverability/decision.py",
    claim="A message that always fails costs next to nothing with delays and a limit, and all there is without.",
    varies="whether a failing message is retried after delays and parked, or requeued at once",
    law=f"{BOUNDED}; {PARKED}; {CHEAP}",
    wrong_way="a failing message is requeued without a limit, and comes back as fast as broker and receiver can",
    expected="With delays, a message is delivered four times and parked; requeued, hundreds of times a second.",
    full=HotSize(),
    quick=HotSize(messages=20, seconds=1.5),
    options=(
        SizeOption("messages", click.IntRange(1, 2_000), "Number of messages that do not fail."),
        SizeOption("seconds", FiniteRange(0.5, 60.0), "Seconds of observation of each arrangement."),
        defect_option(LOSE_ONLY, "a failing message is lost"),
    ),
    measure=measure,
    topology=direct_queue(RIGHT, QUEUES[RIGHT], SERVICE) | _unlimited_queue(),
    prerequisites=(BROKER_PROCESS,),
    worker_modules=(failing_receiver.__name__, requeueing_receiver.__name__),
)
