"""Experiment: Process Manager. Source: EIP, Process Manager."""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from prebook.contracts.ride import SETTLED_STATES, BookingState
from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.patterns import booking_receiver
from prebook.lab.experiments.patterns.booking_receiver import (
    SERVICE,
    BookingReceiverSpec,
    BookingStep,
    StateStore,
    step_name,
)
from prebook.lab.experiments.patterns.queues import direct_queue
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.experiments.patterns.site import PatternSite
from prebook.lab.experiments.patterns.size import PATTERN_OPTIONS, PatternSize
from prebook.messaging import addresses
from prebook.topology.model import union


class Arrangement(StrEnum):
    """Place of the state of the processes, and whether the process manager is killed."""

    UNDISTURBED = "state in the database, undisturbed"
    DATABASE = "state in the database, killed"
    MEMORY = "state in memory, killed"

    @property
    def queue(self) -> str:
        """Queue of the arrangement's messages."""
        return f"lab.process.{self.name.lower()}"


SAME_OUTCOME = "processes whose state differs from an undisturbed run = 0"
CREATE_STATE = (
    f"CREATE TABLE {SERVICE}.process_state (run text, booking_id text, state text, fare_cents int, driver text, "
    "booking bytea, PRIMARY KEY (run, booking_id))"
)
SELECT_OUTCOMES = f"SELECT booking_id, state, fare_cents, driver FROM {SERVICE}.process_state WHERE run = $1"  # noqa: S608 - a schema
LAST = "message-last"
Outcome = tuple[str, int | None, str | None]
"""State, fare in cents and driver of a booking."""


async def measure(run: ExperimentRun, size: PatternSize) -> Measurement:
    """Run the same bookings undisturbed, with a kill, and with a kill and state in memory."""
    outcomes = {}
    bookings = [f"booking-{number:04}" for number in range(size.messages)]
    async with PatternSite.open(run) as site:
        await site.database.execute(CREATE_STATE)
        for arrangement in Arrangement:
            run.log(arrangement)
            outcomes[arrangement] = await _run_bookings(site, arrangement, bookings, size.defect)
    expected = outcomes[Arrangement.UNDISTURBED]
    wrong = LawVerdict.VIOLATED
    return Measurement(
        checks=[
            outcome_check(Arrangement.DATABASE, expected, outcomes[Arrangement.DATABASE], LawVerdict.HELD),
            outcome_check(Arrangement.MEMORY, expected, outcomes[Arrangement.MEMORY], wrong),
        ],
        tables=[_table(len(bookings), outcomes)],
    )


def outcome_check(
    arrangement: Arrangement, expected: Mapping[str, Outcome], found: Mapping[str, Outcome], verdict: LawVerdict
) -> LawCheck:
    """Return the check that every process has the same state as in the undisturbed run."""
    differing = sum(found.get(booking) != outcome for booking, outcome in expected.items())
    return check_law(SAME_OUTCOME, arrangement, ("differing", differing), Relation.EQUAL, ("", 0), expected=verdict)


async def _run_bookings(
    site: PatternSite, arrangement: Arrangement, bookings: list[str], defect: SeededDefect
) -> Mapping[str, Outcome]:
    """Send each step of all bookings; kill the process manager while it handles the second one, and restart it."""
    queue = arrangement.queue
    is_killed = arrangement is not Arrangement.UNDISTURBED
    plain = site.receiver_spec(arrangement, queue, service=SERVICE)
    spec = BookingReceiverSpec(
        **msgspec.structs.asdict(plain),
        store=StateStore.MEMORY if arrangement is Arrangement.MEMORY else StateStore.DATABASE,
        omitted=step_name(site.random.choice(bookings), BookingStep.DRIVER)
        if defect is SeededDefect.LOSE and arrangement is Arrangement.DATABASE
        else "",
    )
    started, priced, matched = ([step_name(booking, step) for booking in bookings] for step in BookingStep)
    async with site.processes(booking_receiver.run, spec) as (process,):
        await site.publish(addresses.REDELIVER, queue, [*started, *priced], arrangement)
        await site.wait_for_effects(arrangement, priced, site.random.uniform(0.2, 0.6) if is_killed else 1.0)
        if is_killed:
            process.kill()
            process.join()
    async with site.processes(booking_receiver.run, spec):
        await site.publish(addresses.REDELIVER, queue, [*matched, LAST], arrangement)
        await site.wait_for_effects(arrangement, [LAST], 1.0)
    rows = await site.database.fetch(SELECT_OUTCOMES, arrangement)
    return {row["booking_id"]: (row["state"], row["fare_cents"], row["driver"]) for row in rows}


def _table(started: int, outcomes: Mapping[Arrangement, Mapping[str, Outcome]]) -> ResultTable:
    def cells(found: Mapping[str, Outcome]) -> tuple[int, ...]:
        states = Counter(state for state, _, _ in found.values())
        ended = sum(states[state] for state in SETTLED_STATES)
        return started, ended, started - ended, states[BookingState.CONFIRMED]

    return ResultTable.by_arrangement(
        "Bookings run by booking's process",
        ("arrangement", "started", "ended", "open", "confirmed"),
        outcomes,
        cells,
        "a killed process manager is restarted while half of the fares are on their way",
    )


PROCESS_MANAGER = Experiment(
    name="process-manager",
    section=Section.PATTERNS,
    claims=("B9", "F11"),
    pattern="Process Manager (EIP)",
    code="services/prebook/booking/process.py",
    claim="A process manager whose state commits with its messages ends every process as if it had not been killed.",
    varies="where the state of the processes is kept; the process manager is killed between two steps",
    law=SAME_OUTCOME,
    wrong_way="the state is kept in memory: after the restart, replies belong to processes that nobody knows",
    expected="With its state in the database the same bookings are confirmed; with state in memory some stay open.",
    full=PatternSize(messages=200),
    quick=PatternSize(messages=30),
    options=PATTERN_OPTIONS,
    measure=measure,
    topology=union(direct_queue(each, each.queue, SERVICE) for each in Arrangement),
    worker_modules=(booking_receiver.__name__,),
)
