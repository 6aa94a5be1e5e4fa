"""Experiment: attempts and delays of messages that fail and then succeed. Source: Builders' Library, Timeouts, retries
and backoff with jitter."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import median

import rich_click as click
from aio_pika.abc import AbstractIncomingMessage

from prebook.lab.background import run_in_background
from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section, SizeOption
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.patterns.queues import direct_queue
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.experiments.patterns.site import PatternSite, message_names
from prebook.lab.experiments.patterns.size import LOSE_ONLY, PatternSize, defect_option
from prebook.lab.experiments.retries import failing_receiver
from prebook.lab.experiments.retries.failing_receiver import (
    BACKOFF_S,
    CREATE_ATTEMPT,
    MAX_ATTEMPTS,
    PREFETCH,
    SERVICE,
    failing_names,
    failures_of,
    wait_for_dead_letters,
)
from prebook.lab.experiments.timer_lag import TimerLag
from prebook.messaging import addresses
from prebook.messaging.clock import utc_now
from prebook.messaging.headers import CONVERSATION_ID_HEADER
from prebook.patterns.retry import ScheduledAttempt, retry_schedule
from prebook.rabbit.amqp_message import from_amqp

RIGHT = "retries after the delays of a schedule"
WRONG = "a failing message is requeued at once"
QUEUES = {RIGHT: "lab.retries.scheduled", WRONG: "lab.retries.requeued"}
EXACT_LAW = f"messages whose attempts differ from failures + 1, at most {MAX_ATTEMPTS} = 0"
NOT_EARLY = "attempts before their shortest delay = 0"
NOT_LATE = "median delay before an attempt <= its longest delay + 250 ms"
TOLERANCE_S = 0.25
PART = 9
"""Number of messages that are sent at a time."""
COUNT_TRIED = f"SELECT count(DISTINCT message) FROM {SERVICE}.attempt"  # noqa: S608 - a schema
SCHEDULE = retry_schedule(max_attempts=MAX_ATTEMPTS, backoff_s=BACKOFF_S)
Attempts = Mapping[str, Sequence[datetime]]
"""Times of the attempts at each message, in their order."""


@dataclass(frozen=True)
class Delay:
    """Time between two attempts at one message."""

    attempt: ScheduledAttempt
    """The later one."""
    seconds: float

    @property
    def is_early(self) -> bool:
        """Whether the attempt came before the shortest delay of the schedule."""
        return self.seconds < self.attempt.delay_s[0]


async def measure(run: ExperimentRun, size: PatternSize) -> Measurement:
    """Let messages fail from zero to all times, with the schedule, and with a requeue at once."""
    lag = TimerLag()
    async with PatternSite.open(run) as site:
        await site.database.execute(CREATE_ATTEMPT.format(service=SERVICE))
        run.log(RIGHT)
        async with run_in_background(lag.watch()):
            scheduled = await _retry(site, size)
        run.log(WRONG)
        requeued = await _requeue(site, size)
    return Measurement(
        checks=[
            attempts_check(RIGHT, scheduled),
            early_check(RIGHT, scheduled),
            late_check(scheduled, lag.doubt),
            early_check(WRONG, requeued, expected=LawVerdict.VIOLATED),
        ],
        tables=[_table({RIGHT: scheduled, WRONG: requeued})],
    )


def delays_of(attempts: Attempts) -> list[Delay]:
    """Return the delay before each attempt but the first; none for attempts beyond the schedule."""
    return [
        Delay(scheduled, (later - earlier).total_seconds())
        for times in attempts.values()
        for scheduled, (earlier, later) in zip(SCHEDULE[1:], pairwise(times), strict=False)
    ]


def attempts_check(arrangement: str, attempts: Attempts) -> LawCheck:
    """Return the check that each message had one attempt more than failures, and not more than the limit."""
    differing = sum(len(times) != min(failures_of(name) + 1, MAX_ATTEMPTS) for name, times in attempts.items())
    return check_law(EXACT_LAW, arrangement, ("differing", differing), Relation.EQUAL, ("", 0))


def early_check(arrangement: str, attempts: Attempts, *, expected: LawVerdict = LawVerdict.HELD) -> LawCheck:
    """Return the check that no attempt came before its shortest delay."""
    early = sum(delay.is_early for delay in delays_of(attempts))
    return check_law(NOT_EARLY, arrangement, ("early", early), Relation.EQUAL, ("", 0), expected=expected)


def late_check(attempts: Attempts, doubt: str) -> LawCheck:
    """Return the check that the attempts come no later than the schedule says, but for the time of the queue."""
    medians = {
        scheduled.delay_s[1]: median(delay.seconds for delay in delays_of(attempts) if delay.attempt == scheduled)
        for scheduled in SCHEDULE[1:]
    }
    longest_s, median_s = max(medians.items(), key=lambda item: item[1] - item[0])
    left = ("median in s", round(median_s, 3))
    right = ("longest in s", longest_s + TOLERANCE_S)
    return check_law(NOT_LATE, RIGHT, left, Relation.AT_MOST, right, doubt=doubt)


async def _retry(site: PatternSite, size: PatternSize) -> Attempts:
    """Return the attempts of the suite's consumer; a message that fails at every one is dead-lettered."""
    names = failing_names(message_names(size.messages))
    succeeding = [name for name in names if failures_of(name) < MAX_ATTEMPTS]
    spec = site.receiver_spec(RIGHT, QUEUES[RIGHT], service=SERVICE, prefetch=PREFETCH)
    skipped = {site.random.choice(succeeding)} if size.defect is SeededDefect.LOSE else set()
    async with site.processes(failing_receiver.run, spec):
        await _send_in_parts(site, [name for name in names if name not in skipped])
        await site.wait_until_settled(RIGHT, succeeding, QUEUES[RIGHT])
        await wait_for_dead_letters(site, len(names) - len(succeeding))
    rows = await site.database.fetch(f"SELECT message, at FROM {SERVICE}.attempt ORDER BY at")  # noqa: S608 - a schema
    attempts: dict[str, list[datetime]] = {name: [] for name in names}
    for row in rows:
        attempts[row["message"]].append(row["at"])
    return attempts


async def _send_in_parts(site: PatternSite, names: Sequence[str]) -> None:
    """Send a part of the messages once all before have had an attempt, so that a retry finds a short queue."""
    for sent in range(0, len(names), PART):

        async def are_tried(expected: int = sent) -> bool:
            return bool(await site.database.fetchval(COUNT_TRIED) >= expected)

        await site.wait_until(are_tried, "the first attempts")
        await site.publish(addresses.REDELIVER, QUEUES[RIGHT], names[sent : sent + PART], RIGHT)


async def _requeue(site: PatternSite, size: PatternSize) -> Attempts:
    """Return the attempts of a consumer that requeues a failing message, which the broker delivers again at once."""
    names = failing_names(message_names(size.messages))
    attempts: dict[str, list[datetime]] = defaultdict(list)
    handled = set[str]()
    all_handled = asyncio.Event()

    async def handle(delivery: AbstractIncomingMessage) -> None:
        name = from_amqp(delivery).headers[CONVERSATION_ID_HEADER]
        attempts[name].append(utc_now())
        if len(attempts[name]) <= failures_of(name):
            await delivery.reject(requeue=True)
            return
        await delivery.ack()
        handled.add(name)
        if handled.issuperset(names):
            all_handled.set()

    channel = await site.broker.channel()
    await channel.set_qos(prefetch_count=PREFETCH)
    queue = await channel.get_queue(QUEUES[WRONG])
    await queue.consume(handle)
    await site.publish(addresses.REDELIVER, QUEUES[WRONG], names, WRONG)

    async def are_handled() -> bool:
        return all_handled.is_set()

    await site.wait_until(are_handled, "the messages that are requeued")
    await channel.close()
    return attempts


def _table(runs: Mapping[str, Attempts]) -> ResultTable:
    return ResultTable(
        title=f"Delays before the attempts at messages that fail up to {MAX_ATTEMPTS} times, in seconds",
        columns=("arrangement", "attempt", "schedule", "attempts", "shortest", "median", "longest"),
        rows=tuple(row for arrangement, attempts in runs.items() for row in _rows(arrangement, delays_of(attempts))),
        caption=f"a delay is the configured one ({', '.join(f'{each:g}' for each in BACKOFF_S)}) times 1, 1.2 or 1.4",
    )


def _rows(arrangement: str, delays: Sequence[Delay]) -> Iterable[tuple[str, ...]]:
    for scheduled in SCHEDULE[1:]:
        seconds = sorted(delay.seconds for delay in delays if delay.attempt == scheduled)
        shortest, longest = scheduled.delay_s
        if seconds:
            measured = (f"{each:.3f}" for each in (seconds[0], median(seconds), seconds[-1]))
            yield arrangement, str(scheduled.number), f"{shortest:g} to {longest:g}", str(len(seconds)), *measured


RETRY_SCHEDULE = Experiment(
    name="retry-schedule",
    section=Section.ERRORS,
    claims=("G3",),
    pattern="Retry with backoff and jitter (Builders' Library)",
    code="shared/prebook/patterns/retry.py",
    claim="A message that fails k times succeeds at attempt k + 1, after the delays of the printed schedule.",
    varies="how often a message fails, from never to always; whether it is retried after a delay or requeued at once",
    law=f"{EXACT_LAW}; {NOT_EARLY}; {NOT_LATE}",
    wrong_way="a failing message is requeued, so all its attempts come at once, while the cause still lasts",
    expected="Each delay is within its schedule; a requeue makes all attempts within milliseconds.",
    full=PatternSize(),
    quick=PatternSize(messages=54),
    options=(
        SizeOption("messages", click.IntRange(9, 20_000), "Number of messages."),
        defect_option(LOSE_ONLY),
    ),
    measure=measure,
    topology=direct_queue(RIGHT, QUEUES[RIGHT], SERVICE) | direct_queue(WRONG, QUEUES[WRONG], SERVICE),
    worker_modules=(failing_receiver.__name__,),
)
