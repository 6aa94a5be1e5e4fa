"""Memory of processes and all their children, from /proc. A page that several share counts as a part for each (PSS)."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

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
