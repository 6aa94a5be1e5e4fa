"""Restart faults of broker and database, which come back on the same data."""

from collections.abc import Awaitable, Callable

from prebook.devstack.supervisor.contract import ServerInfo, ServerState
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.polling import poll_until
from prebook.lab.suite_client.supervisor import SupervisorClient

POLL_INTERVAL_S = 0.2
RESTART_TIMEOUT_S = 60.0


def restart_injection(shutdown: str) -> Callable[[Fault, float, FaultAccess], Awaitable[str]]:
    """Return an injection that restarts a server; ``shutdown`` is ``stop`` (clean) or ``kill``."""

    async def restart(fault: Fault, duration_s: float, fault_access: FaultAccess) -> str:
        before, after = await restart_server(fault_access.supervisor(), fault.target, shutdown, duration_s)
        return f"{fault.target}: pid {before.pid} ended ({shutdown}), replaced by pid {after.pid} on the same data"

    return restart


async def restart_server(
    control: SupervisorClient, name: str, shutdown: str, duration_s: float
) -> tuple[ServerInfo, ServerInfo]:
    """Restart the server, down for ``duration_s`` seconds; return its state before and after. Raises NoEffect."""
    before = await control.read_server(name)
    await control.send_command(f"/servers/{name}/restart", {"shutdown": shutdown, "down_s": duration_s})
    return before, await wait_for_replacement(control, before, duration_s + RESTART_TIMEOUT_S)


async def wait_for_replacement(control: SupervisorClient, before: ServerInfo, timeout_s: float) -> ServerInfo:
    """Return the state of the server once another process runs. Raises NoEffect after ``timeout_s`` seconds."""

    async def read_replacement() -> ServerInfo | None:
        current = await control.read_server(before.name)
        replaced = (current.pid, current.restarts) != (before.pid, before.restarts)
        return current if current.state is ServerState.RUNNING and replaced else None

    try:
        return await poll_until(read_replacement, interval_s=POLL_INTERVAL_S, timeout_s=timeout_s)
    except TimeoutError:
        raise NoEffect(f"no process of {before.name} replaced pid {before.pid} within {timeout_s:.0f} s") from None
