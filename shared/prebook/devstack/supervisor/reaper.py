"""As the first process of a container we inherit every orphan in it, and have to bury it."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection

FIRST_PROCESS = 1
EVERY_S = 5.0


async def reaping(ours: Callable[[], Collection[int]]) -> None:
    """Does nothing in an ordinary process. ``ours`` are waited for elsewhere."""
    while os.getpid() == FIRST_PROCESS:
        while (orphan := _ended()) and orphan not in ours():
            _bury(orphan)
        await asyncio.sleep(EVERY_S)


def _ended() -> int | None:
    """The pid of an ended child, which stays to be waited for."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found else None


def _bury(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
