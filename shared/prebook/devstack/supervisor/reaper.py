"""Reaping of orphans: the first process of a container (pid 1) inherits every orphan in it and has to wait for it."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection

INIT_PID = 1
REAP_INTERVAL_S = 5.0


async def reap_orphans(own_pids: Callable[[], Collection[int]]) -> None:
    """Reap inherited zombies, for ever, as pid 1; return at once in any other process.

    ``own_pids``: children that are waited for elsewhere.
    """
    while os.getpid() == INIT_PID:
        while (orphan := _find_zombie()) and orphan not in own_pids():
            _reap(orphan)
        await asyncio.sleep(REAP_INTERVAL_S)


def _find_zombie() -> int | None:
    """Return the pid of an ended child, without reaping it; None if there is none."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found else None


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
