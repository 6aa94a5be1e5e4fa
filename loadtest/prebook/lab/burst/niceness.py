"""The generator goes first, as if it had processors of its own: offering on time must not wait for who is flooded.

Linux keeps a niceness for each thread, handed on to new threads and processes; where it schedules by session
(autogroup), that only counts within one, and the session has a niceness of its own. Source: sched(7).
"""

import os
import time
from collections.abc import Iterable
from contextlib import suppress

from yarl import URL

from prebook.lab.process_tree import PROC, read_process_tree

LOOPBACK = "127.0.0.1"
NICENESS = 10
"""For all of the suite, so that its processes keep their shares among each other."""
MAX_ATTEMPTS = 20
RETRY_INTERVAL_S = 0.11
"""Who is no administrator may change one session every tenth of a second."""


def is_local(supervisors: Iterable[str]) -> bool:
    """Whether the process ids that they tell mean something here. ``supervisors``: the URLs of their control APIs."""
    return all(URL(url).host == LOOPBACK for url in supervisors)


def lower_priority(roots: Iterable[int]) -> None:
    """The processes and all below them. What cannot be told, being gone or somebody else's, stays as it is. Blocks."""
    tree = read_process_tree()
    for pid in (pid for root in roots for pid in tree.with_descendants(root)):
        for thread in read_thread_ids(pid):
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, thread, NICENESS)
        with suppress(ProcessLookupError):
            if os.getsid(pid) == pid:
                lower_session_priority(pid)


def lower_session_priority(pid: int) -> None:
    for _ in range(MAX_ATTEMPTS):
        try:
            (PROC / str(pid) / "autogroup").write_text(str(NICENESS))
        except BlockingIOError:
            time.sleep(RETRY_INTERVAL_S)
        except OSError:
            return
        else:
            return


def read_thread_ids(pid: int) -> list[int]:
    try:
        return [int(entry.name) for entry in (PROC / str(pid) / "task").iterdir()]
    except OSError:
        return []
