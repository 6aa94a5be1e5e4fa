"""Processor time and resident memory of a process and all its descendants, from /proc."""

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

TICK_MS = 1000.0 / os.sysconf("SC_CLK_TCK")
PARENT_FIELD, USER_FIELD, CHILDREN_SYSTEM_FIELD = 2, 12, 15
"""What we keep of /proc/PID/stat: the pid, and all after the name; user, system, and both of children that ended."""


def read_cpu_ms(roots: Mapping[str, int]) -> dict[str, float]:
    """Name -> milliseconds of processor time since the process began, descendants included. Whole ticks of 10 ms."""
    tree = _read_tree()
    return {
        name: TICK_MS
        * sum(sum(map(int, s[USER_FIELD : CHILDREN_SYSTEM_FIELD + 1])) for s in _with_descendants(tree, pid))
        for name, pid in roots.items()
    }


def read_private_bytes(roots: Mapping[str, int]) -> dict[str, int]:
    """Name -> bytes of resident memory that no other process shares: what a leak would be made of."""
    tree = _read_tree()
    return {
        name: sum(_read_anonymous_bytes(int(s[0])) for s in _with_descendants(tree, pid)) for name, pid in roots.items()
    }


def _read_anonymous_bytes(pid: int) -> int:
    """0 where it has ended meanwhile, or has no memory of its own."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:")), 0)


ProcessTree = tuple[dict[int, list[str]], dict[int, list[int]]]


def _read_tree() -> ProcessTree:
    stats: dict[int, list[str]] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (fields := _read_stat(folder)):
            pid = int(folder.name)
            stats[pid] = fields
            children[int(fields[PARENT_FIELD])].append(pid)
    return stats, children


def _read_stat(entry: Path) -> list[str] | None:
    """None where it has ended meanwhile."""
    try:
        return [entry.name, *(entry / "stat").read_text().rpartition(")")[2].split()]
    except OSError:
        return None


def _with_descendants(tree: ProcessTree, pid: int) -> list[list[str]]:
    stats, children = tree
    if pid not in stats:
        return []
    return [stats[pid], *(each for child in children[pid] for each in _with_descendants(tree, child))]


PROC = Path("/proc")
KIB_PER_MB = 1024


def read_pss_mb(roots: Mapping[str, int]) -> dict[str, float]:
    """Name -> megabytes of the process and all below it; without those that cannot be read. Blocks for milliseconds."""
    children = read_children()
    found = {name: sum(map(read_pss_kib, descendants(pid, children))) for name, pid in roots.items()}
    return {name: round(kib / KIB_PER_MB, 1) for name, kib in found.items() if kib}


def read_children() -> Mapping[int, list[int]]:
    """Process -> its children, of this moment."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in PROC.iterdir():
        if entry.name.isdecimal() and (parent := read_parent(entry)) is not None:
            children[parent].append(int(entry.name))
    return children


def read_parent(entry: Path) -> int | None:
    try:
        # The name, in parentheses, may hold anything; what comes after the last of them does not.
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def descendants(pid: int, children: Mapping[int, list[int]]) -> list[int]:
    return [pid, *(found for child in children.get(pid, ()) for found in descendants(child, children))]


def read_pss_kib(pid: int) -> int:
    """0 where the process has gone, or is somebody else's."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
