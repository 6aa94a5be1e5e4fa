"""Faults of a database that answers and cannot write: read-only, or its outboxes locked."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from prebook.devstack.supervisor.contract import WriteFault
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.polling import poll_until

POLL_INTERVAL_S = 0.1
READY_TIMEOUT_S = 10.0
"""Readiness waits for a lock for up to two seconds, and for longer on a busy machine."""
RECOVERY_TIMEOUT_S = 60.0
UNAVAILABLE = 503
MIN_WAIT_SHARE = 0.5
"""Share of the fault's duration for which a readiness check must have waited to prove a lock that it outlasted."""


@dataclass(frozen=True)
class ReadinessReport:
    """Answer of a process to ``GET /readyz``. ``reason``: what it says of its database; "" if it is ready."""

    reason: str
    took_s: float


def write_fault_injection(write_fault: WriteFault) -> Callable[[Fault, float, FaultAccess], Awaitable[str]]:
    """Return an injection that keeps the suite's database from writing."""

    async def prevent_writes(fault: Fault, duration_s: float, fault_access: FaultAccess) -> str:
        """Prevent writes for ``duration_s`` seconds; wait until every process reports it and is ready again."""
        await fault_access.supervisor().send_command(
            f"/servers/{fault.target}/{write_fault}", {"duration_s": duration_s}
        )
        reports = await asyncio.gather(
            *(
                _wait_until_reported(name, url, duration_s, fault_access)
                for name, url in fault_access.addresses.internal.items()
            )
        )
        await asyncio.gather(
            *(_wait_until_ready(name, url, fault_access) for name, url in fault_access.addresses.internal.items())
        )
        waited_s = max(report.took_s for report in reports)
        reasons = sorted({report.reason or f"the check waited for {waited_s:.1f} s" for report in reports})
        return f"{len(reports)} processes reported: {'; '.join(reasons)}; all were ready again"

    return prevent_writes


async def _wait_until_reported(name: str, url: str, duration_s: float, fault_access: FaultAccess) -> ReadinessReport:
    """Return the first report that shows the fault. Raises NoEffect if there is none while the fault lasts."""

    async def read_report() -> ReadinessReport | None:
        report = await _read_readiness(url, fault_access)
        return report if report.reason or report.took_s >= MIN_WAIT_SHARE * duration_s else None

    try:
        return await poll_until(read_report, interval_s=POLL_INTERVAL_S, timeout_s=duration_s + READY_TIMEOUT_S)
    except TimeoutError:
        raise NoEffect(f"{name} reported nothing of its database while it could not write") from None


async def _wait_until_ready(name: str, url: str, fault_access: FaultAccess) -> None:
    async def is_ready() -> bool | None:
        return not (await _read_readiness(url, fault_access)).reason or None

    try:
        await poll_until(is_ready, interval_s=POLL_INTERVAL_S, timeout_s=RECOVERY_TIMEOUT_S)
    except TimeoutError:
        raise NoEffect(f"{name} is not ready {RECOVERY_TIMEOUT_S:g} s after the fault") from None


async def _read_readiness(url: str, fault_access: FaultAccess) -> ReadinessReport:
    clock = asyncio.get_running_loop().time
    began = clock()
    async with fault_access.session.get(
        f"{url}/readyz", timeout=aiohttp.ClientTimeout(total=READY_TIMEOUT_S)
    ) as response:
        missing = (await response.json())["missing"] if response.status == UNAVAILABLE else {}
    return ReadinessReport(missing.get("database", ""), clock() - began)
