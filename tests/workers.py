"""Distribution of tests and ports to parallel processes (`pytest -n 2`)."""

import os
from typing import Any

from prebook.devstack.ports import is_free

SHARING = frozenset({"replay", "integration", "topology", "traps"})
"""Folders with tests of the shared suite, which run in one process, in their order."""
ALONE = frozenset({"test_back_pressure.py", "test_burst.py", "test_chaos.py", "test_replicas.py"})
"""Files in these folders that start suites of their own."""
SUITE = "suite"
LOWEST = 12_000
"""Lowest port of the tests, below the ports that suites draw for themselves."""
EACH = 2_000
"""Ports per process."""


def port_base(count: int) -> int:
    """Return the first of ``count`` consecutive free ports."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
    lowest = LOWEST + number * EACH
    start = os.getpid() % 100 * count
    bases = (lowest + (start + step * count) % (EACH - count) for step in range(EACH // count))
    free_base = next((base for base in bases if all(map(is_free, range(base, base + count)))), None)
    assert free_base, f"no {count} consecutive free ports between {lowest} and {lowest + EACH}"
    return free_base


def group(nodeid: str) -> str:
    """Return the group of a test, which one process runs as a whole: the shared suite, or its file."""
    file = nodeid.partition("::")[0]
    folder, name = file.split("/")[-2:]
    return SUITE if folder in SHARING and name not in ALONE else file


def scheduler(config: Any, log: Any) -> object:
    """Schedule by groups, in the order of collection. xdist's own group marks have no effect under pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # has no type information

    config.option.loadscopereorder = False
    scheduling = LoadScopeScheduling(config, log)
    scheduling._split_scope = group
    return scheduling
