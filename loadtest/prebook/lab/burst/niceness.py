"""Niceness of the suite's processes, lowered so that an overloaded suite does not delay the load generator.

Linux keeps a niceness per thread, which new threads and processes inherit. With autogroup scheduling the niceness
counts within a session only, and the session has its own niceness. Source: sched(7).
"""

import os
import time
from collections.abc import Iterable
from contextlib import suppress

from yarl import URL

from prebook.lab.process_tree import PROC, read_process_tree

LOOPBACK = "127.0.0.1"
NICENESS = 10
"""Niceness of all processes of the suite: one value, so that their shares relative to each other do not change."""
MAX_ATTEMPTS = 20
RETRY_INTERVAL_S = 0.11
"""An unprivileged process may change one session's niceness every 0.1 s."""


def is_local(supervisors: Iterable[str]) -> bool:
    """Return whether all supervisors run on this machine, so that their process ids are valid here.

    ``supervisors``: URLs of their control APIs.
    """
    return all(URL(url).host == LOOPBACK for url in supervisors)


def lower_priority(roots: Iterable[int]) -> None:
    """Set NICENESS for the processes ``roots`` and their descendants; blocks for up to some seconds.

    Processes that have ended or belong to another user are skipped.
    """
    tree = read_process_tree()
    for pid in (pid for root in roots for pid in tree.with_descendants(root)):
        for thread in read_thread_ids(pid):
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, thread, NICENESS)
        with suppress(ProcessLookupError):
            if os.getsid(pid) == pid:
                lower_session_priority(pid)


def lower_session_priority(pid: int) -> None:
    """Set NICENESS for the autogroup of the session leader ``pid``; retry while the kernel limits the rate."""
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
    """Return the thread ids of a process; empty if it has ended."""
    try:
        return [int(entry.name) for entry in (PROC / str(pid) / "task").iterdir()]
    except OSError:
        return []
