"""Processor time and resident memory of a process and all its descendants, from /proc."""

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

TICK_MS = 1000.0 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PARENT, USER, KIDS_SYSTEM, RESIDENT = 1, 11, 14, 21
"""Fields of /proc/PID/stat, counted after the name; user, system, and the same of children that have ended."""


def spent_ms(roots: Mapping[str, int]) -> dict[str, float]:
    """Name -> milliseconds of processor time since the process began, descendants included. Whole ticks of 10 ms."""
    tree = _tree()
    return {
        name: TICK_MS * sum(sum(map(int, s[USER : KIDS_SYSTEM + 1])) for s in _family(tree, pid))
        for name, pid in roots.items()
    }


def resident_bytes(roots: Mapping[str, int]) -> dict[str, int]:
    """Name -> bytes. Shared pages count for each process that has them."""
    tree = _tree()
    return {name: PAGE * sum(int(s[RESIDENT]) for s in _family(tree, pid)) for name, pid in roots.items()}


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
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _family(tree: Tree, pid: int) -> list[list[str]]:
    stats, children = tree
    if pid not in stats:
        return []
    return [stats[pid], *(each for child in children[pid] for each in _family(tree, child))]
