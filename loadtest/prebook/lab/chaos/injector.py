"""Injector of the scheduled faults, with a record of the effect of each."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from prebook.flows import PROCESSES
from prebook.lab.chaos.evidence import InjectedFault
from prebook.lab.chaos.schedule import FaultChoice, ScheduledFault
from prebook.lab.faults import Fault, FaultAccess, FaultKind, inject
from prebook.lab.faults.effects import effect_of
from prebook.lab.load.generator import ClockOrigin
from prebook.lab.suite_client.services import SuiteClient, SuiteUnreachable

READY_TIMEOUT_S = 30.0
POLL_INTERVAL_S = 0.3
SINGLE_PROCESS_KINDS = frozenset({FaultKind.KILL, FaultKind.PAUSE, FaultKind.BROWNOUT})
"""Kinds that touch one process only, so that two of them may be active at once."""
MINUTE_LONG_KINDS = frozenset({FaultKind.CRASHING_POISON})
"""Kinds that no schedule contains: they last minutes whatever duration is drawn, longer than the deadlines of flows."""
DUPLICATE_KIND = "duplicate_everything"
"""Kind that makes the broker deliver every message twice: the surest source of duplicates."""


def fault_choices(faults: Sequence[Fault]) -> tuple[FaultChoice, ...]:
    """Return ``faults`` as choices of the schedule, without those that last minutes."""
    return tuple(
        FaultChoice(fault.name, fault.kind, fault.target, fault.default_duration_s, fault.kind in SINGLE_PROCESS_KINDS)
        for fault in faults
        if fault.kind not in MINUTE_LONG_KINDS
    )


@dataclass
class FaultInjector:
    """Injects faults of a schedule. ``injected``: those that have ended; ``active``: names of those in progress."""

    fault_access: FaultAccess
    faults: Mapping[str, Fault]
    schedule: Sequence[ScheduledFault]
    suite: SuiteClient
    injected: list[InjectedFault] = field(default_factory=list)
    active: set[str] = field(default_factory=set)

    async def inject_group(self, group: Sequence[ScheduledFault], origin: ClockOrigin) -> None:
        """Inject overlapping faults; return when all have ended and the suite is ready again.

        ``origin``: the start of the arrivals.
        """
        async with asyncio.TaskGroup() as injections:
            for scheduled in group:
                injections.create_task(self._inject_one(scheduled, scheduled.at_s - group[0].at_s, origin))

    async def wait_until_ready(self, services: Collection[str] = PROCESSES) -> None:
        """Wait until ``services`` are ready, at most READY_TIMEOUT_S: an effect shows only on a process that worked.

        A process that is still not ready then is reported by the fault that is injected into it.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(READY_TIMEOUT_S):
                await poll_until_ready(self.suite, services)

    async def _inject_one(self, scheduled: ScheduledFault, delay_s: float, origin: ClockOrigin) -> None:
        await asyncio.sleep(delay_s)
        self.active.add(scheduled.name)
        fault = self.faults[scheduled.name]
        window = await inject(fault, scheduled.duration_s, self.fault_access)
        self.active.discard(scheduled.name)
        await self.wait_until_ready(effect_of(fault).services)
        recovered_at = datetime.now(UTC)
        self.injected.append(
            InjectedFault(
                name=scheduled.name,
                at_s=origin.offset_s(window.started_at),
                took_effect=window.took_effect,
                duration_s=round((window.ended_at - window.started_at).total_seconds(), 1),
                recovery_s=round((recovered_at - window.ended_at).total_seconds(), 1),
                evidence=window.evidence,
            )
        )


async def poll_until_ready(suite: SuiteClient, services: Collection[str]) -> None:
    """Return once every one of ``services`` reports that it is ready; poll every POLL_INTERVAL_S seconds."""
    while True:
        with suppress(SuiteUnreachable):
            return await suite.check_ready(services)
        await asyncio.sleep(POLL_INTERVAL_S)
