"""Broker and database are ended and come back on the same data."""

from collections.abc import Awaitable, Callable

from prebook.devstack.supervisor.contract import ServerInfo, ServerState
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.polling import poll_until
from prebook.lab.suite_client.supervisor import SupervisorClient

POLL_INTERVAL_S = 0.2
RESTART_TIMEOUT_S = 60.0


def restart_injection(shutdown: str) -> Callable[[Fault, float, FaultAccess], Awaitable[str]]:
    """Return an injection that ends a server, by ``stop`` (in order) or ``kill``, until another process runs."""

    async def end(fault: Fault, duration_s: float, fault_access: FaultAccess) -> str:
        before, after = await restart_server(fault_access.supervisor(), fault.target, shutdown, duration_s)
        return f"{fault.target}: pid {before.pid} ended ({shutdown}), pid {after.pid} in its place, on the same data"

    return end


async def restart_server(
    control: SupervisorClient, name: str, shutdown: str, duration_s: float
) -> tuple[ServerInfo, ServerInfo]:
    """Before and after. Raises NoEffect where no other process came in its place."""
    before = await control.read_server(name)
    await control.send_command(f"/servers/{name}/restart", {"shutdown": shutdown, "down_s": duration_s})
    return before, await wait_for_replacement(control, before, duration_s + RESTART_TIMEOUT_S)


async def wait_for_replacement(control: SupervisorClient, before: ServerInfo, timeout_s: float) -> ServerInfo:
    """Raises NoEffect where no other process runs in the place of ``before`` within ``timeout_s``."""

    async def read_replacement() -> ServerInfo | None:
        now = await control.read_server(before.name)
        replaced = (now.pid, now.restarts) != (before.pid, before.restarts)
        return now if now.state is ServerState.RUNNING and replaced else None

    try:
        return await poll_until(read_replacement, interval_s=POLL_INTERVAL_S, timeout_s=timeout_s)
    except TimeoutError:
        raise NoEffect(
            f"no other process of {before.name} came in the place of pid {before.pid} within {timeout_s:.0f} s"
        ) from None
