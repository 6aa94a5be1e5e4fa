"""Registration of the experiment: parked messages are inspected at operations, and waiting ones at the broker.

Source: EIP, Dead Letter Channel, Message Store.
"""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import rich_click as click

from prebook.contracts.dead_letters import DeadLetterView
from prebook.devstack.errors import UserError
from prebook.flows import OPERATIONS
from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section, SizeOption
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.patterns.queues import direct_queue
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.experiments.patterns.site import RECEIVER_SERVICES, PatternSite, message, message_names
from prebook.lab.experiments.patterns.size import LOSE_ONLY, PatternSize, defect_option
from prebook.lab.experiments.service_processes import ServiceProcesses
from prebook.lab.experiments.testbed import RETRY_HINT
from prebook.lab.suite_client.settings import SuiteAddresses
from prebook.messaging import addresses
from prebook.messaging.observer import NullObserver
from prebook.messaging.recoverability.dead_letter import DELIVERY_LIMIT
from prebook.rabbit.dead_letter_publisher import DeadLetterPublisher
from prebook.topology.model import suite_topology, union

RIGHT = "parked messages at operations"
WRONG = "waiting messages at the broker"
QUEUES = {RIGHT: "lab.inspected.waiting", WRONG: "lab.inspected.taken"}
UNCHANGED = "queues whose depth differs after the inspection = 0"
UNTOUCHED = "waiting messages that are marked as delivered before = 0"
SHOWN = "parked messages that the inspection shows = all of them"
CAUSE = "lab_inspection"
LOOKS = DELIVERY_LIMIT + 1
"""Number of times that a waiting message is taken and returned: once more than the broker delivers one again."""
COMMAND_TIMEOUT_S = 60.0
SELECT_IDS = "SELECT id FROM operations.dead_letter WHERE cause = $1 ORDER BY id"
Depths = Mapping[str, int]
"""Number of messages that wait in each queue."""


@dataclass(frozen=True)
class Inspection:
    """Depths before and after an inspection."""

    before: Depths
    after: Depths

    @property
    def changed(self) -> Sequence[str]:
        """Queues whose depth differs."""
        return [queue for queue, depth in self.before.items() if self.after[queue] != depth]


async def measure(run: ExperimentRun, size: PatternSize) -> Measurement:
    """Inspect parked messages by all commands, and then waiting ones by taking and returning them."""
    names = message_names(size.messages)
    async with (
        PatternSite.open(run) as site,
        ServiceProcesses.run(run.testbed, [OPERATIONS]) as services,
    ):
        run.log(RIGHT)
        await _park(site, names[1:] if size.defect is SeededDefect.LOSE else names)
        for arrangement, queue in QUEUES.items():
            await site.publish(addresses.REDELIVER, queue, names, arrangement)
        before = await _read_depths(site)
        shown = await _inspect_by_commands(site, services.access.addresses)
        right = Inspection(before, await _read_depths(site))
        redelivered = await _count_redelivered(site, QUEUES[RIGHT])
        run.log(WRONG)
        before = await _read_depths(site)
        await _inspect_at_broker(site, len(names))
        wrong = Inspection(before, await _read_depths(site))
    return Measurement(
        checks=[
            depth_check(RIGHT, right),
            check_law(UNTOUCHED, RIGHT, ("marked", redelivered), Relation.EQUAL, ("", 0)),
            check_law(SHOWN, RIGHT, ("shown", shown), Relation.EQUAL, ("parked", len(names))),
            depth_check(WRONG, wrong, expected=LawVerdict.VIOLATED),
        ],
        tables=[_table(size, {RIGHT: right, WRONG: wrong}, shown)],
    )


def depth_check(arrangement: str, seen: Inspection, *, expected: LawVerdict = LawVerdict.HELD) -> LawCheck:
    """Return the check that no queue has another depth than before."""
    changed = ("changed", len(seen.changed))
    return check_law(UNCHANGED, arrangement, changed, Relation.EQUAL, ("", 0), expected=expected)


async def _read_depths(site: PatternSite) -> Depths:
    """Return the depths of all queues but the archive, whose count lags behind."""
    queues = {queue.name for queue in suite_topology(()).queues} - {addresses.ARCHIVE_QUEUE} | {*QUEUES.values()}
    return {queue: await site.count_ready(queue) for queue in sorted(queues)}


async def _park(site: PatternSite, names: Sequence[str]) -> None:
    """Dead-letter a message for each name, and wait until operations has recorded all."""
    publisher = DeadLetterPublisher(site.publisher, NullObserver())
    for name in names:
        wire = message(name, RIGHT, site.token)
        await publisher.dead_letter(QUEUES[RIGHT], wire, CAUSE, ValueError(name))

    async def are_recorded() -> bool:
        return len(await site.database.fetch(SELECT_IDS, CAUSE)) >= len(names)

    await site.wait_until(are_recorded, "the records of the dead letters")


async def _inspect_by_commands(site: PatternSite, suite: SuiteAddresses) -> int:
    """Run every command that inspects, and add a note; return how many parked messages the export has."""
    first = str(await site.database.fetchval(SELECT_IDS, CAUSE))
    env = {
        **os.environ,
        "PREBOOK_URL_OPERATIONS": suite.public[OPERATIONS],
        "PREBOOK_OPERATOR_TOKEN": suite.operator_token,
    }
    commands = (("list",), ("failure-groups",), ("show", first), ("note", first, "seen by the lab"), ("export",))
    *_, exported = [await _run_command(env, *command) for command in commands]
    views = [msgspec.json.decode(line, type=DeadLetterView) for line in exported.splitlines()]
    return sum(view.summary.cause == CAUSE for view in views)


async def _run_command(env: Mapping[str, str], *words: str) -> str:
    """Return the output of a `prebook parking` command. Raises UserError."""
    command = (sys.executable, "-m", "prebook.cli", "parking", *words)
    process = await asyncio.create_subprocess_exec(
        *command, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise UserError(f"prebook parking {words[0]} failed: {errors.decode()[-500:]}", RETRY_HINT)
    return output.decode()


async def _inspect_at_broker(site: PatternSite, messages: int) -> None:
    """Take all waiting messages and return them, again and again, as a management page does that shows a queue."""
    queue_name = QUEUES[WRONG]
    async with site.broker.channel() as channel:
        queue = await channel.get_queue(queue_name, ensure=False)
        for _look in range(LOOKS):
            taken = [await queue.get(fail=False) for _message in range(messages)]
            for each in taken:
                if each is not None:
                    await each.reject(requeue=True)

    async def is_empty() -> bool:
        return not await site.count_ready(queue_name)

    await site.wait_until(is_empty, "the broker's parking of messages that were returned too often")


async def _count_redelivered(site: PatternSite, queue_name: str) -> int:
    """Take all messages out of a queue; return how many were delivered before."""
    redelivered = 0
    async with site.broker.channel() as channel:
        queue = await channel.get_queue(queue_name, ensure=False)
        while taken := await queue.get(no_ack=True, fail=False):
            redelivered += bool(taken.redelivered)
    return redelivered


def _table(size: PatternSize, seen: Mapping[str, Inspection], shown: int) -> ResultTable:
    return ResultTable.by_arrangement(
        "Depths of the queues before and after an inspection",
        ("inspection of", "messages", "queues compared", "with another depth", "waiting before", "waiting after"),
        seen,
        lambda own: (
            size.messages,
            len(own.before),
            len(own.changed),
            sum(own.before.values()),
            sum(own.after.values()),
        ),
        f"operations has shown {shown} messages by list, failure-groups, show, note and export; at the broker, each "
        f"message was taken and returned {LOOKS} times",
    )


INSPECTION = Experiment(
    name="inspection",
    section=Section.ERRORS,
    claims=("G4",),
    pattern="Dead Letter Channel, Message Store (EIP)",
    code="services/prebook/operations/dead_letters/api.py",
    claim="Operators inspect parked messages without any change at the broker.",
    varies="whether messages are inspected in the store of operations, or at the broker by taking and returning them",
    law=f"{UNCHANGED}; {UNTOUCHED}; {SHOWN}",
    wrong_way="messages are taken from their queue and returned, which the broker counts as failed deliveries",
    expected="Commands change no depth; messages that are taken and returned too often leave their queue.",
    full=PatternSize(messages=100),
    quick=PatternSize(messages=10),
    options=(
        SizeOption("messages", click.IntRange(2, 1_000), "Number of messages of each kind."),
        defect_option(LOSE_ONLY, "a message is not parked"),
    ),
    measure=measure,
    topology=union(direct_queue(name, queue, RECEIVER_SERVICES[0]) for name, queue in QUEUES.items()),
)
