"""One chaos run: offer bookings, inject faults, wait until the suite has settled, gather the evidence."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from prebook.devstack.errors import UserError
from prebook.flows import PROCESSES
from prebook.lab.chaos import database
from prebook.lab.chaos.arrivals import SCENARIO, draw_requests
from prebook.lab.chaos.callback_receiver import CallbackReceiver
from prebook.lab.chaos.callbacks import is_complete
from prebook.lab.chaos.duplicates import DuplicateCounter
from prebook.lab.chaos.evidence import Evidence
from prebook.lab.chaos.injector import DUPLICATE_KIND, FaultInjector, fault_choices
from prebook.lab.chaos.phases import run_phases, split_into_phases
from prebook.lab.chaos.repeated_keys import merge_attempts
from prebook.lab.chaos.riders import ChaosRiders
from prebook.lab.chaos.schedule import ScheduledFault, draw_schedule
from prebook.lab.chaos.slowness import SlownessProbe
from prebook.lab.faults import FaultAccess, list_available_faults
from prebook.lab.ledger.reconciliation import Reconciliation, reconcile
from prebook.lab.load.generator import ClockOrigin
from prebook.lab.load.rides import campaign_week
from prebook.lab.load.samples import Sample, key_prefix
from prebook.lab.suite_client.database import DatabaseUnreadable
from prebook.lab.suite_client.flow_limits import FlowLimits
from prebook.lab.suite_client.services import SuiteClient, SuiteUnreachable, read_parked_messages

START_DELAY_S = 0.5
POLL_INTERVAL_S = 5.0
SETTLE_POLL_INTERVAL_S = 2.0
MAX_CLOCK_SKEW_S = 300.0
"""Maximum deviation of a service's clock, which a fault may shift."""


@dataclass(frozen=True)
class ChaosOptions:
    """Size and seed of a chaos run.

    ``settle_timeout_s``: seconds that the suite may take after the load until every booking has an outcome.
    """

    bookings: int
    faults: int
    seed: int
    rate_per_s: float
    settle_timeout_s: float

    @property
    def duration_s(self) -> float:
        """Planned seconds from the first arrival to the last."""
        return self.bookings / self.rate_per_s


class NoFaultAvailable(UserError):
    """No fault of the catalogue can be injected into this suite."""


@dataclass
class ChaosRun:
    """One run against a running suite. Its fields may be read during the run, to show the progress.

    ``database_url``: the suite's database as its administrator. ``flow_limits``: time limits of each flow in the suite.
    ``receiver``: the riders' system, None if the suite may call none. ``name``: prefix of the run's idempotency keys.
    """

    options: ChaosOptions
    fault_access: FaultAccess
    database_url: str = field(repr=False)
    flow_limits: Mapping[str, FlowLimits]
    receiver: CallbackReceiver | None = None
    name: str = field(default_factory=lambda: f"x{secrets.token_hex(4)}")
    schedule: tuple[ScheduledFault, ...] = ()
    reconciliation: Reconciliation = field(default_factory=lambda: reconcile((), (), ()))
    settling: bool = False
    generator: ChaosRiders = field(init=False)
    injector: FaultInjector = field(init=False)
    duplicates: DuplicateCounter = field(init=False)
    slowness: SlownessProbe = field(init=False)

    def __post_init__(self) -> None:
        self.suite = SuiteClient(self.fault_access.session, self.fault_access.addresses)
        urls = self.fault_access.addresses.public
        session = self.fault_access.session
        self.generator = ChaosRiders(session, urls["booking"], SCENARIO, self.options.seed)
        internal_urls = self.fault_access.addresses.internal
        self.duplicates = DuplicateCounter(session, internal_urls)
        self.slowness = SlownessProbe(session, internal_urls)
        self.injector = FaultInjector(self.fault_access, {}, (), self.suite)

    async def prepare(self) -> Sequence[ScheduledFault]:
        """Draw the fault schedule from the seed and return it.

        Raises:
            SuiteUnreachable: A process of the suite is not ready.
            NoFaultAvailable: No fault can be injected into this suite.
        """
        await self.suite.check_ready(PROCESSES)
        faults = {fault.name: fault for fault in await list_available_faults(self.fault_access)}
        choices = fault_choices(list(faults.values()))
        if not choices:
            raise NoFaultAvailable("no fault of the catalogue can be injected here", "`prebook fault list` says why")
        options = self.options
        self.schedule = draw_schedule(choices, options.faults, options.seed, options.duration_s, DUPLICATE_KIND)
        self.injector = FaultInjector(self.fault_access, faults, self.schedule, self.suite)
        return self.schedule

    async def run(self) -> Evidence:
        """Send the load, inject the scheduled faults and return the evidence.

        Raises:
            SuiteUnreachable: The services cannot be read after the load.
            DatabaseUnreadable: The database cannot be read after the load.
        """
        options = self.options
        week = campaign_week(datetime.now(UTC))
        requests = draw_requests(
            options.bookings,
            options.duration_s,
            options.seed,
            run=self.name,
            week=week,
            callback_url=self.receiver.url if self.receiver else None,
        )
        await self.duplicates.poll()
        origin = ClockOrigin.now().shifted(START_DELAY_S)
        polls = (self.duplicates.run(), self.slowness.run(), self._poll_ledger(origin))
        pollers = [asyncio.create_task(poll) for poll in polls]
        try:
            await run_phases(split_into_phases(self.schedule, requests), self.generator, self.injector, origin)
            self.settling = True
            await self._wait_until_settled(origin)
            return await self._gather_evidence(origin)
        finally:
            for task in pollers:
                task.cancel()
            await asyncio.wait(pollers)

    async def _reconcile(self, origin: ClockOrigin) -> Reconciliation:
        rows = await self.suite.read_ledger(key_prefix(self.name, SCENARIO))
        deliveries = await self.suite.read_deliveries(origin.wall_at(-MAX_CLOCK_SKEW_S))
        self.reconciliation = reconcile(self._samples(), rows, deliveries)
        return self.reconciliation

    def _samples(self) -> Sequence[Sample]:
        return merge_attempts(self.generator.samples, self.generator.repetitions)

    async def _poll_ledger(self, origin: ClockOrigin) -> None:
        while not self.settling:
            await asyncio.sleep(POLL_INTERVAL_S)
            with suppress(SuiteUnreachable):  # a suite under a fault may time out; only the last read counts
                await self._reconcile(origin)

    async def _wait_until_settled(self, origin: ClockOrigin) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self.options.settle_timeout_s):
                await self._poll_until_at_rest(origin)

    async def _poll_until_at_rest(self, origin: ClockOrigin) -> None:
        while True:
            if await self._is_at_rest(origin):
                return
            await asyncio.sleep(SETTLE_POLL_INTERVAL_S)

    async def _is_at_rest(self, origin: ClockOrigin) -> bool:
        """Return whether every booking is settled and notified, and none of its messages or replies is outstanding."""
        with suppress(SuiteUnreachable, DatabaseUnreadable):
            if not (await self._reconcile(origin)).pending:
                return self._callbacks_complete() and await database.is_at_rest(self.database_url, self._booking_ids())
        return False

    def _callbacks_complete(self) -> bool:
        states = {row.booking_id: row.state.value for row in self.reconciliation.rows}
        return self.receiver is None or is_complete(self.receiver.callbacks, states)

    async def _gather_evidence(self, origin: ClockOrigin) -> Evidence:
        await self.duplicates.poll()
        dead_letters = await read_parked_messages(self.suite)
        deliveries = await self.suite.read_deliveries(origin.wall_at(-MAX_CLOCK_SKEW_S))
        rows = await self.suite.read_ledger(key_prefix(self.name, SCENARIO))
        dead_lettered = {dead_letter.conversation_id for dead_letter in dead_letters}
        self.reconciliation = reconcile(self._samples(), rows, deliveries, dead_lettered=dead_lettered)
        return Evidence(
            reconciliation=self.reconciliation,
            database=await database.read_state(self.database_url, self._booking_ids(), origin.wall),
            dead_letters=dead_letters,
            wire_duplicates=self.duplicates.total,
            cancellations=tuple(self.generator.cancellations),
            callbacks=tuple(self.receiver.callbacks) if self.receiver else None,
            repetitions=tuple(self.generator.repetitions),
            first_samples=tuple(self.generator.samples),
            started_at=origin.wall,
            flow_limits=self.flow_limits,
            slow=tuple(self.slowness.slow),
            faults=sorted(self.injector.injected, key=lambda fault: fault.at_s),
        )

    def _booking_ids(self) -> list[str]:
        return [row.booking_id for row in self.reconciliation.rows]
