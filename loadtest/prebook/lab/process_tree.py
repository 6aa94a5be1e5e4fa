"""Processor time and resident memory of a process and all its descendants, from /proc."""

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

TICK_MS = 1000.0 / os.sysconf("SC_CLK_TCK")
PARENT, USER, KIDS_SYSTEM = 2, 12, 15
"""What we keep of /proc/PID/stat: the pid, and all after the name; user, system, and both of children that ended."""


def spent_ms(roots: Mapping[str, int]) -> dict[str, float]:
    """Name -> milliseconds of processor time since the process began, descendants included. Whole ticks of 10 ms."""
    tree = _tree()
    return {
        name: TICK_MS * sum(sum(map(int, s[USER : KIDS_SYSTEM + 1])) for s in _family(tree, pid))
        for name, pid in roots.items()
    }


def own_bytes(roots: Mapping[str, int]) -> dict[str, int]:
    """Name -> bytes of resident memory that no other process shares: what a leak would be made of."""
    tree = _tree()
    return {name: sum(_anonymous(int(s[0])) for s in _family(tree, pid)) for name, pid in roots.items()}


def _anonymous(pid: int) -> int:
    """0 where it has ended meanwhile, or has no memory of its own."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:")), 0)


Tree = tuple[dict[int, list[str]], dict[int, list[int]]]


def _tree() -> Tree:
    stats: dict[int, list[str]] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (fields := _stat(folder)):
            pid = int(folder.name)
            stats[pid] = fields
            children[int(fields[PARENT])].append(pid)
    return stats, children


def _stat(folder: Path) -> list[str] | None:
    """None where it has ended meanwhile."""
    try:
        return [folder.name, *(folder / "stat").read_text().rpartition(")")[2].split()]
    except OSError:
        return None


def _family(tree: Tree, pid: int) -> list[list[str]]:
    stats, children = tree
    if pid not in stats:
        return []
    return [stats[pid], *(each for child in children[pid] for each in _family(tree, child))]


PROC = Path("/proc")
KIB_PER_MB = 1024


def of_trees(roots: Mapping[str, int]) -> dict[str, float]:
    """Name -> megabytes of the process and all below it; without those that cannot be read. Blocks for milliseconds."""
    children = parents()
    found = {name: sum(map(pss_kib, below(pid, children))) for name, pid in roots.items()}
    return {name: round(kib / KIB_PER_MB, 1) for name, kib in found.items() if kib}


def parents() -> Mapping[int, list[int]]:
    """Process -> its children, of this moment."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in PROC.iterdir():
        if entry.name.isdecimal() and (parent := parent_of(entry)) is not None:
            children[parent].append(int(entry.name))
    return children


def parent_of(entry: Path) -> int | None:
    try:
        # The name, in parentheses, may hold anything; what comes after the last of them does not.
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def below(pid: int, children: Mapping[int, list[int]]) -> list[int]:
    return [pid, *(found for child in children.get(pid, ()) for found in below(child, children))]


def pss_kib(pid: int) -> int:
    """0 where the process has gone, or is somebody else's."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
