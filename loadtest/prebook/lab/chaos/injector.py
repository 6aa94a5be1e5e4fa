"""Carries drawn faults out, and keeps what became of each."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from prebook.flows import PROCESSES
from prebook.lab.chaos.evidence import Broken
from prebook.lab.chaos.schedule import Choice, Planned
from prebook.lab.faults import Fault, FaultKind, Levers, inject
from prebook.lab.load.generator import Origin
from prebook.lab.suite_client.services import Suite, SuiteUnreachable

WHOLE_WITHIN_S, LOOK_EVERY_S = 30.0, 0.3
ALONE = frozenset({FaultKind.KILL, FaultKind.PAUSE, FaultKind.BROWNOUT})
"""Kinds that touch one process only, so that two of them may be on at once."""
DUPLICATES, POISON = "duplicate_everything", "poison"
"""Kinds: the surest source of messages that come again, and what is parked and rightly so."""


def choices(faults: Sequence[Fault]) -> tuple[Choice, ...]:
    return tuple(
        Choice(fault.name, fault.kind, fault.target, fault.usual_for_s, fault.kind in ALONE) for fault in faults
    )


@dataclass
class Breaking:
    """``now``: the fault that is on, for whoever watches; empty while none is."""

    levers: Levers
    faults: Mapping[str, Fault]
    plan: Sequence[Planned]
    suite: Suite
    broken: list[Broken] = field(default_factory=list)
    now: set[str] = field(default_factory=set)

    async def inject(self, group: Sequence[Planned], origin: Origin) -> None:
        """Returns when all of them are over. ``origin``: the start of the arrivals, from which times are told."""
        async with asyncio.TaskGroup() as together:
            for planned in group:
                together.create_task(self._one(planned, planned.at_s - group[0].at_s, origin))

    async def until_whole(self) -> None:
        """What is broken was whole before: otherwise nobody could tell that the fault took effect.

        A process that does not say in time that it is ready is told of by the fault that finds it so.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(WHOLE_WITHIN_S):
                await ready(self.suite)

    async def _one(self, planned: Planned, after_s: float, origin: Origin) -> None:
        await asyncio.sleep(after_s)
        self.now.add(planned.name)
        window = await inject(self.faults[planned.name], planned.for_s, self.levers)
        self.now.discard(planned.name)
        self.broken.append(
            Broken(
                name=planned.name,
                at_s=since(origin, window.started_at),
                took_effect=window.took_effect,
                lasted_s=round((window.ended_at - window.started_at).total_seconds(), 1),
                evidence=window.evidence,
            )
        )

    @property
    def poisoned(self) -> bool:
        return any(self.faults[fault.name].kind == POISON for fault in self.broken)


async def ready(suite: Suite) -> None:
    while True:
        with suppress(SuiteUnreachable):
            return await suite.check_ready(PROCESSES)
        await asyncio.sleep(LOOK_EVERY_S)


def since(origin: Origin, moment: datetime) -> float:
    return (moment - origin.wall).total_seconds()
