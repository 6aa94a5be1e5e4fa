"""Resident memory of a process."""

import os
import subprocess
import sys
from pathlib import Path


def read_rss_bytes(pid: int) -> int | None:
    """Read the resident memory from /proc on Linux, from `ps` elsewhere. Return None if the process does not exist."""
    return _read_proc(pid) if sys.platform == "linux" else _run_ps(pid)


def _read_proc(pid: int) -> int | None:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _run_ps(pid: int) -> int | None:
    completed = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607 - fixed words and a number
    return int(completed.stdout) * 1024 if completed.stdout.strip() else None
