"""One run of the experiment, on a suite whose processes crash where a file tells them to."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prebook.flows import PROCESSES
from prebook.lab.chaos import database
from prebook.lab.chaos.evidence import Evidence, InjectedFault
from prebook.lab.experiments.crash_points.cases import Case, CrashSite
from prebook.lab.experiments.crash_points.riders import PersistentRiders
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.ledger.reconciliation import Reconciliation, reconcile
from prebook.lab.load.generator import PreparedRequest, prepare_requests
from prebook.lab.load.plans import PLANS
from prebook.lab.load.request_schedule import PlannedRequest
from prebook.lab.load.rides import campaign_week
from prebook.lab.load.samples import Sample
from prebook.lab.polling import poll_until
from prebook.lab.suite_client.database import DatabaseUnreadable
from prebook.lab.suite_client.flow_limits import FlowLimits
from prebook.lab.suite_client.services import SuiteClient, SuiteUnreachable, read_parked_messages
from prebook.runtime.crash_files import crash_file_name

SCENARIO = "crashes"
POLL_INTERVAL_S = 0.2
REST_TIMEOUT_S = 60.0
"""Seconds that the rides of a case may take after their answers; those that take longer are judged at the end."""
READY_TIMEOUT_S = 60.0
SETTLE_TIMEOUT_S = 450.0
"""Seconds after the last case within which every ride must have come to rest."""
MAX_CLOCK_DEVIATION = timedelta(seconds=5)


@dataclass(frozen=True)
class CaseResult:
    """A case and the sites at which a process crashed; the rides of the case did not reach the others."""

    case: Case
    crashed: frozenset[CrashSite]


@dataclass
class CrashRun:
    """Runs cases one after the other and gathers the evidence about all of their rides.

    ``database_url``: the suite's database as its administrator. ``crash_dir``: the folder that the suite's processes
    watch. ``name``: prefix of the idempotency keys. ``flow_limits``: time limits of each flow in the suite.
    ``max_wait_s``: seconds after which a rider stops repeating a request.
    """

    access: FaultAccess
    database_url: str = field(repr=False)
    crash_dir: Path
    seed: int
    name: str
    flow_limits: Mapping[str, FlowLimits]
    max_wait_s: float
    results: list[CaseResult] = field(default_factory=list)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self._suite = SuiteClient(self.access.session, self.access.addresses)
        self._riders = PersistentRiders(
            self.access.session, self.access.addresses.public["booking"], SCENARIO, self.max_wait_s
        )
        self._samples: list[Sample] = []
        self._crashes: list[InjectedFault] = []

    async def run_cases(self, cases: Sequence[Case], on_result: Callable[[CaseResult], None]) -> None:
        """Run ``cases``; ``on_result`` is called after each.

        Raises:
            SuiteUnreachable: A service does not come back after its crash.
        """
        for case in cases:
            result = await self._run_case(case)
            self.results.append(result)
            on_result(result)

    async def gather_evidence(self) -> Evidence:
        """Wait until the rides of all cases are at rest, at most SETTLE_TIMEOUT_S, and return the evidence.

        Raises:
            SuiteUnreachable: A service cannot be read.
            DatabaseUnreadable: The database cannot be read.
        """
        await self._wait_until_at_rest(self.name, self._samples, self.started_at, SETTLE_TIMEOUT_S)
        reconciliation = await self._reconcile(self.name, self._samples, self.started_at)
        ids = [row.booking_id for row in reconciliation.rows]
        return Evidence(
            started_at=self.started_at,
            flow_limits=self.flow_limits,
            faults=self._crashes,
            reconciliation=reconciliation,
            database=await database.read_state(self.database_url, ids, self.started_at),
            dead_letters=await read_parked_messages(self._suite),
        )

    async def _run_case(self, case: Case) -> CaseResult:
        """Book one ride under each plan while the processes of the case crash."""
        files = {site: self.crash_dir / crash_file_name(site.service, site.point) for site in case}
        for file in files.values():
            file.touch()
        began_at = datetime.now(UTC)
        name = f"{self.name}-{len(self.results):05d}"
        samples = await self._riders.book(self._prepare_requests(name))
        self._samples += samples
        await self._wait_until_over(files.values(), name, samples, began_at)
        crashed = frozenset(site for site, file in files.items() if not file.exists())
        for file in files.values():
            file.unlink(missing_ok=True)
        await self._wait_until_ready()
        self._crashes += [self._crash(site.service, began_at) for site in crashed]
        return CaseResult(case, crashed)

    def _crash(self, service: str, began_at: datetime) -> InjectedFault:
        """Return a crash, with its recovery until now, in the form of a fault of the catalogue."""
        return InjectedFault(
            name=f"kill_{service}",
            at_s=(began_at - self.started_at).total_seconds(),
            took_effect=True,
            duration_s=(datetime.now(UTC) - began_at).total_seconds(),
        )

    def _prepare_requests(self, name: str) -> Sequence[PreparedRequest]:
        planned = [PlannedRequest(at_s=0.0, ride=len(self.results), label=label) for label in PLANS]
        week = campaign_week(datetime.now(UTC))
        return prepare_requests(planned, run_id=name, scenario=SCENARIO, seed=self.seed, week=week)

    async def _wait_until_over(
        self, files: Collection[Path], name: str, samples: Sequence[Sample], began_at: datetime
    ) -> None:
        """Wait until every file has caused its crash, or the rides have come to rest without it.

        Rides that a crash has interrupted come to rest during the next cases.
        """

        async def is_over() -> bool | None:
            if not any(file.exists() for file in files):
                return True
            return await self._is_at_rest(name, samples, began_at)

        with suppress(TimeoutError):
            await poll_until(is_over, interval_s=POLL_INTERVAL_S, timeout_s=REST_TIMEOUT_S)

    async def _wait_until_at_rest(
        self, prefix: str, samples: Sequence[Sample], since: datetime, timeout_s: float
    ) -> None:
        async def is_at_rest() -> bool | None:
            return await self._is_at_rest(prefix, samples, since)

        with suppress(TimeoutError):
            await poll_until(is_at_rest, interval_s=POLL_INTERVAL_S, timeout_s=timeout_s)

    async def _is_at_rest(self, prefix: str, samples: Sequence[Sample], since: datetime) -> bool | None:
        """Return True if nothing is outstanding for any ride, otherwise None."""
        with suppress(SuiteUnreachable, DatabaseUnreadable):
            reconciliation = await self._reconcile(prefix, samples, since)
            ids = [row.booking_id for row in reconciliation.rows]
            if not reconciliation.pending and await database.is_at_rest(self.database_url, ids):
                return True
        return None

    async def _reconcile(self, prefix: str, samples: Sequence[Sample], since: datetime) -> Reconciliation:
        rows = await self._suite.read_ledger(prefix)
        deliveries = await self._suite.read_deliveries(since - MAX_CLOCK_DEVIATION)
        return reconcile(samples, rows, deliveries)

    async def _wait_until_ready(self) -> None:
        async def is_ready() -> bool | None:
            with suppress(SuiteUnreachable):
                await self._suite.check_ready(PROCESSES)
                return True
            return None

        with suppress(TimeoutError):
            await poll_until(is_ready, interval_s=POLL_INTERVAL_S, timeout_s=READY_TIMEOUT_S)
        await self._suite.check_ready(PROCESSES)
