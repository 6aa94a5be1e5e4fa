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
"""Fields of /proc/PID/stat after the name, from 0."""


class ProcessStat(NamedTuple):
    """A process at one moment. Times are in clock ticks of 10 ms."""

    parent: int
    own_ticks: int
    """User and system time of the process itself."""
    ended_children_ticks: int
    """The same of children that have ended."""


@dataclass(frozen=True)
class ProcessTree:
    """All processes of the machine at one moment."""

    stats: Mapping[int, ProcessStat]
    children: Mapping[int, Sequence[int]]

    def with_descendants(self, pid: int) -> list[int]:
        """The process and all below it; empty where it has ended."""
        if pid not in self.stats:
            return []
        below = (found for child in self.children.get(pid, ()) for found in self.with_descendants(child))
        return [pid, *below]


def read_process_tree() -> ProcessTree:
    """Read all processes once. A process that ends meanwhile is left out."""
    stats: dict[int, ProcessStat] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for entry in PROC.iterdir():
        if entry.name.isdecimal() and (stat := _read_stat_or_none(int(entry.name))):
            stats[int(entry.name)] = stat
            children[stat.parent].append(int(entry.name))
    return ProcessTree(stats, children)


def read_cpu_ms(roots: Mapping[str, int]) -> dict[str, float]:
    """Name -> milliseconds of CPU time since the process started, descendants included. Whole ticks of 10 ms."""
    tree = read_process_tree()
    return {name: _cpu_ticks(tree, pid) / TICKS_PER_S * MS_PER_S for name, pid in roots.items()}


def read_cpu_time_s(pid: int) -> float:
    """Seconds of CPU time of one process without its descendants. Raises OSError where it has ended."""
    return _read_stat(pid).own_ticks / TICKS_PER_S


def read_private_bytes(roots: Mapping[str, int]) -> dict[str, int]:
    """Name -> bytes of anonymous resident memory, descendants included: the memory in which a leak would show."""
    tree = read_process_tree()
    return {
        name: sum(_read_anonymous_kib(each) for each in tree.with_descendants(pid)) * BYTES_PER_KIB
        for name, pid in roots.items()
    }


def read_pss_mb(roots: Mapping[str, int]) -> dict[str, float]:
    """Name -> megabytes of proportional set size, descendants included; without processes that cannot be read."""
    tree = read_process_tree()
    found = {name: sum(map(_read_pss_kib, tree.with_descendants(pid))) for name, pid in roots.items()}
    return {name: round(kib / KIB_PER_MB, 1) for name, kib in found.items() if kib}


def read_resident_mb(pid: int) -> float:
    """Megabytes of resident memory of one process, shared pages included. Raises OSError where it has ended."""
    return _kib_in((PROC / str(pid) / "status").read_text(), "VmRSS:") / KIB_PER_MB


def _cpu_ticks(tree: ProcessTree, pid: int) -> int:
    stats = [tree.stats[each] for each in tree.with_descendants(pid)]
    return sum(stat.own_ticks + stat.ended_children_ticks for stat in stats)


def _read_stat_or_none(pid: int) -> ProcessStat | None:
    try:
        return _read_stat(pid)
    except OSError:
        return None


def _read_stat(pid: int) -> ProcessStat:
    # The name, in parentheses, may contain anything; the text after the last parenthesis does not.
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return ProcessStat(
        parent=int(fields[PARENT_FIELD]),
        own_ticks=int(fields[USER_TIME_FIELD]) + int(fields[SYSTEM_TIME_FIELD]),
        ended_children_ticks=int(fields[CHILDREN_USER_TIME_FIELD]) + int(fields[CHILDREN_SYSTEM_TIME_FIELD]),
    )


def _read_anonymous_kib(pid: int) -> int:
    """0 where the process has ended, or has no memory of its own."""
    try:
        return _kib_in((PROC / str(pid) / "status").read_text(), "RssAnon:")
    except OSError:
        return 0


def _read_pss_kib(pid: int) -> int:
    """0 where the process has ended, or belongs to another user."""
    try:
        return _kib_in((PROC / str(pid) / "smaps_rollup").read_text(), "Pss:")
    except OSError:
        return 0


def _kib_in(text: str, label: str) -> int:
    """The number on the line that begins with ``label``; 0 where there is none."""
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(label)), 0)
