"""CPU time and memory of processes and their descendants, read from /proc.

Source: proc(5). Every function blocks for some milliseconds.
"""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
MS_PER_S = 1000
BYTES_PER_KIB = 1024
KIB_PER_MB = 1024
PARENT_FIELD = 1
USER_TIME_FIELD = 11
SYSTEM_TIME_FIELD = 12
CHILDREN_USER_TIME_FIELD = 13
CHILDREN_SYSTEM_TIME_FIELD = 14
"""Indexes of the fields of /proc/PID/stat after the name, counted from 0."""


class ProcessStat(NamedTuple):
    """Parent and CPU time of a process at one moment. Times are in clock ticks of 10 ms."""

    parent: int
    """Process id of the parent."""
    own_ticks: int
    """User and system time of the process itself."""
    ended_children_ticks: int
    """User and system time of children that have ended and were waited for."""


@dataclass(frozen=True)
class ProcessTree:
    """All processes of the machine at one moment."""

    stats: Mapping[int, ProcessStat]
    """Status of each process id."""
    children: Mapping[int, Sequence[int]]
    """Children of each process id."""

    def with_descendants(self, pid: int) -> list[int]:
        """Return the process and all its descendants; empty if it has ended."""
        if pid not in self.stats:
            return []
        descendants = (found for child in self.children.get(pid, ()) for found in self.with_descendants(child))
        return [pid, *descendants]


def read_process_tree() -> ProcessTree:
    """Read all processes once, without those that end during the reading."""
    stats: dict[int, ProcessStat] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for entry in PROC.iterdir():
        if entry.name.isdecimal() and (stat := _read_stat_or_none(int(entry.name))):
            stats[int(entry.name)] = stat
            children[stat.parent].append(int(entry.name))
    return ProcessTree(stats, children)


def read_cpu_ms(roots: Mapping[str, int]) -> dict[str, float]:
    """Return the CPU time in ms since the start of each process, descendants included, in whole ticks of 10 ms.

    ``roots``: process id by name. A process that has ended counts 0.
    """
    tree = read_process_tree()
    return {name: _cpu_ticks(tree, pid) / TICKS_PER_S * MS_PER_S for name, pid in roots.items()}


def read_cpu_time_s(pid: int) -> float:
    """Return the CPU time in seconds of one process, without its descendants.

    Raises:
        OSError: The process has ended.
    """
    return _read_stat(pid).own_ticks / TICKS_PER_S


def read_private_bytes(roots: Mapping[str, int]) -> dict[str, int]:
    """Return the bytes of anonymous resident memory of each process, descendants included.

    Leaks show in anonymous memory; mapped files and shared buffers do not disturb it. ``roots``: process id by name. A
    process that has ended counts 0.
    """
    tree = read_process_tree()
    return {
        name: sum(_read_anonymous_kib(member) for member in tree.with_descendants(pid)) * BYTES_PER_KIB
        for name, pid in roots.items()
    }


def read_pss_mb(roots: Mapping[str, int]) -> dict[str, float]:
    """Return the proportional set size in megabytes of each process, descendants included.

    Shared pages are divided among the processes that share them. ``roots``: process id by name. The result has no
    processes that have ended or cannot be read.
    """
    tree = read_process_tree()
    sizes_kib = {name: sum(map(_read_pss_kib, tree.with_descendants(pid))) for name, pid in roots.items()}
    return {name: round(kib / KIB_PER_MB, 1) for name, kib in sizes_kib.items() if kib}


def read_resident_mb(pid: int) -> float:
    """Return the resident memory in megabytes of one process, shared pages included, descendants excluded.

    Raises:
        OSError: The process has ended.
    """
    return _kib_in((PROC / str(pid) / "status").read_text(), "VmRSS:") / KIB_PER_MB


def _cpu_ticks(tree: ProcessTree, pid: int) -> int:
    stats = [tree.stats[member] for member in tree.with_descendants(pid)]
    return sum(stat.own_ticks + stat.ended_children_ticks for stat in stats)


def _read_stat_or_none(pid: int) -> ProcessStat | None:
    try:
        return _read_stat(pid)
    except OSError:
        return None


def _read_stat(pid: int) -> ProcessStat:
    # The name, in parentheses, may contain spaces and parentheses; the fields after the last parenthesis may not.
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return ProcessStat(
        parent=int(fields[PARENT_FIELD]),
        own_ticks=int(fields[USER_TIME_FIELD]) + int(fields[SYSTEM_TIME_FIELD]),
        ended_children_ticks=int(fields[CHILDREN_USER_TIME_FIELD]) + int(fields[CHILDREN_SYSTEM_TIME_FIELD]),
    )


def _read_anonymous_kib(pid: int) -> int:
    """Return 0 if the process has ended or has no user memory, as kernel threads."""
    try:
        return _kib_in((PROC / str(pid) / "status").read_text(), "RssAnon:")
    except OSError:
        return 0


def _read_pss_kib(pid: int) -> int:
    """Return 0 if the process has ended or belongs to another user."""
    try:
        return _kib_in((PROC / str(pid) / "smaps_rollup").read_text(), "Pss:")
    except OSError:
        return 0


def _kib_in(text: str, label: str) -> int:
    """Return the number on the line that begins with ``label``; 0 if there is no such line."""
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(label)), 0)
