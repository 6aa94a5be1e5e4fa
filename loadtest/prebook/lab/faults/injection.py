"""Injection of one fault: cause it, verify its effect, undo it, within a bounded time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from prebook.contracts.partners import PartnerCondition
from prebook.devstack.supervisor.contract import WriteFault
from prebook.lab.faults import (
    clock_skew,
    cluster,
    connections,
    crashing_poison,
    database_writes,
    duplication,
    links,
    memory_alarm,
    partners,
    poison,
    processes,
    queue_full,
    servers,
)
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.model import Fault, FaultKind, FaultWindow, close_window

UNDO_TIMEOUT_S = 90.0
"""Seconds that an injection may take beyond the fault's duration, to undo the fault and to verify that."""
EFFECT_TIMEOUTS_S: Mapping[FaultKind, float] = {FaultKind.CRASHING_POISON: crashing_poison.PARKING_TIMEOUT_S}
"""Seconds that an injection may take in addition, where the effect takes longer than the fault's duration."""
Injection = Callable[[Fault, float, FaultAccess], Awaitable[str]]
"""Function that injects a fault for a number of seconds, undoes it, and returns the evidence of its effect.

Raises NoEffect, or any error that kept the fault from taking effect.
"""

INJECTIONS: Mapping[FaultKind, Injection] = {
    FaultKind.KILL: processes.kill,
    FaultKind.PAUSE: processes.pause,
    FaultKind.BROWNOUT: processes.brown_out,
    FaultKind.CLOCK_SKEW: clock_skew.skew_clock,
    FaultKind.CONNECTIONS_CUT: connections.close_connections,
    FaultKind.RESTART: servers.restart_injection("stop"),
    FaultKind.SERVER_KILL: servers.restart_injection("kill"),
    FaultKind.LEADER_LOST: cluster.kill_leader,
    FaultKind.MEMORY_ALARM: memory_alarm.raise_memory_alarm,
    FaultKind.QUEUE_FULL: queue_full.fill_queues,
    FaultKind.DATABASE_READ_ONLY: database_writes.write_fault_injection(WriteFault.READ_ONLY),
    FaultKind.DATABASE_LOCKED: database_writes.write_fault_injection(WriteFault.LOCKED),
    FaultKind.DUPLICATE_EVERYTHING: duplication.duplicate_everything,
    FaultKind.POISON: poison.publish_poison,
    FaultKind.CRASHING_POISON: crashing_poison.publish_crashing_poison,
    FaultKind.LINK_SLOW: links.link_injection("slow", links.is_slow),
    FaultKind.LINK_CUT: links.link_injection("cut", links.has_failures),
    FaultKind.LINK_BLACK_HOLE: links.link_injection("black_hole", links.has_failures),
    FaultKind.LINK_RESPONSE_LOSS: links.link_injection("response_loss", links.has_failures),
    FaultKind.PARTNER_SLOW: partners.partner_injection(PartnerCondition.SLOW),
    FaultKind.PARTNER_DEAD: partners.partner_injection(PartnerCondition.DEAD),
    FaultKind.PARTNER_GARBLED: partners.partner_injection(PartnerCondition.GARBLED),
}


def injection_timeout_s(kind: FaultKind, duration_s: float) -> float:
    """Return the seconds within which a fault of ``duration_s`` seconds took effect and is undone."""
    return duration_s + EFFECT_TIMEOUTS_S.get(kind, 0.0) + UNDO_TIMEOUT_S


async def inject(fault: Fault, duration_s: float, fault_access: FaultAccess) -> FaultWindow:
    """Inject ``fault`` for ``duration_s`` seconds; return its window once it is undone.

    A failed injection does not raise: its window has ``took_effect`` False and the reason as evidence.
    """
    started_at = datetime.now(UTC)
    try:
        async with asyncio.timeout(injection_timeout_s(fault.kind, duration_s)):
            evidence = await INJECTIONS[fault.kind](fault, duration_s, fault_access)
    except Exception as error:  # noqa: BLE001 - any error is the evidence; a failed fault must not end a campaign
        return close_window(started_at, took_effect=False, evidence=str(error) or type(error).__name__)
    return close_window(started_at, took_effect=True, evidence=evidence)
