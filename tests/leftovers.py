"""Tasks and timers of the running event loop, to check that a part leaves none behind."""

import asyncio
from typing import Any


def tasks_and_timers() -> set[Any]:
    """Return the tasks that have not ended, and the timers that are still to fire. Works with asyncio's own loop."""
    loop: Any = asyncio.get_running_loop()
    return {*asyncio.all_tasks(), *(timer for timer in loop._scheduled if not timer.cancelled())}
