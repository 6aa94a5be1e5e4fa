"""Switch booking's back pressure off, by an orderly restart, while a block runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prebook.lab.faults import FaultAccess
from prebook.lab.faults.processes import RESTART_TIMEOUT_S, list_replicas, wait_for_new_pid
from prebook.lab.suite_client.supervisor import SupervisorClient

BOOKING = "booking"
"""The service that admits rides."""


def unavailable_reason(access: FaultAccess) -> str:
    """Return why back pressure cannot be switched in this suite, or an empty text."""
    known = BOOKING in access.supervisor_urls
    return "" if known else f"no supervisor of {BOOKING} is known, so its back pressure cannot be switched off"


@asynccontextmanager
async def switch_off(access: FaultAccess) -> AsyncIterator[None]:
    """Restart every replica of booking without back pressure; after the block, restart it with its original setting.

    Raises:
        SupervisorError: a supervisor does not respond, or refuses the request.
        NoEffect: a process did not restart in time.
    """
    await _switch(access, enabled=False)
    try:
        yield
    finally:
        await _switch(access, enabled=None)


async def _switch(access: FaultAccess, *, enabled: bool | None) -> None:
    control = access.supervisor(BOOKING)
    replicas = await list_replicas(control, BOOKING)
    await asyncio.gather(*(_restart(control, replica.name, enabled=enabled) for replica in replicas))


async def _restart(control: SupervisorClient, name: str, *, enabled: bool | None) -> None:
    old_pid = await control.read_pid(name)
    await control.send_command(f"/processes/{name}/back_pressure", {"enabled": enabled})
    await wait_for_new_pid(control, name, old_pid, RESTART_TIMEOUT_S)
