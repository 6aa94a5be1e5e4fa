"""Carries drawn faults out, and keeps what became of each."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from prebook.flows import PROCESSES
from prebook.lab.chaos.evidence import InjectedFault
from prebook.lab.chaos.schedule import FaultChoice, ScheduledFault
from prebook.lab.faults import Fault, FaultAccess, FaultKind, inject
from prebook.lab.load.generator import ClockOrigin
from prebook.lab.suite_client.services import SuiteClient, SuiteUnreachable

READY_TIMEOUT_S = 30.0
POLL_INTERVAL_S = 0.3
SINGLE_PROCESS_KINDS = frozenset({FaultKind.KILL, FaultKind.PAUSE, FaultKind.BROWNOUT})
"""Kinds that touch one process only, so that two of them may be on at once."""
DUPLICATE_KIND = "duplicate_everything"
POISON_KIND = "poison"
"""Kinds: the surest source of messages that come again, and what is parked and rightly so."""


def fault_choices(faults: Sequence[Fault]) -> tuple[FaultChoice, ...]:
    return tuple(
        FaultChoice(fault.name, fault.kind, fault.target, fault.default_duration_s, fault.kind in SINGLE_PROCESS_KINDS)
        for fault in faults
    )


@dataclass
class FaultInjector:
    """``active``: the faults that are on, for whoever watches."""

    fault_access: FaultAccess
    faults: Mapping[str, Fault]
    schedule: Sequence[ScheduledFault]
    suite: SuiteClient
    injected: list[InjectedFault] = field(default_factory=list)
    active: set[str] = field(default_factory=set)

    async def inject_group(self, group: Sequence[ScheduledFault], origin: ClockOrigin) -> None:
        """Returns when all of them are over. ``origin``: the start of the arrivals, from which times are told."""
        async with asyncio.TaskGroup() as together:
            for planned in group:
                together.create_task(self._inject_one(planned, planned.at_s - group[0].at_s, origin))

    async def wait_until_ready(self) -> None:
        """What is broken was whole before: otherwise nobody could tell that the fault took effect.

        A process that does not say in time that it is ready is told of by the fault that finds it so.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(READY_TIMEOUT_S):
                await poll_until_ready(self.suite)

    async def _inject_one(self, scheduled: ScheduledFault, after_s: float, origin: ClockOrigin) -> None:
        await asyncio.sleep(after_s)
        self.active.add(scheduled.name)
        window = await inject(self.faults[scheduled.name], scheduled.duration_s, self.fault_access)
        self.active.discard(scheduled.name)
        self.injected.append(
            InjectedFault(
                name=scheduled.name,
                at_s=origin.offset_s(window.started_at),
                took_effect=window.took_effect,
                duration_s=round((window.ended_at - window.started_at).total_seconds(), 1),
                evidence=window.evidence,
            )
        )

    @property
    def has_sent_poison(self) -> bool:
        return any(self.faults[fault.name].kind == POISON_KIND for fault in self.injected)


async def poll_until_ready(suite: SuiteClient) -> None:
    while True:
        with suppress(SuiteUnreachable):
            return await suite.check_ready(PROCESSES)
        await asyncio.sleep(POLL_INTERVAL_S)
