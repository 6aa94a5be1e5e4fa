"""Tests may run in several processes side by side (`pytest -n 2`): who runs what, and with which ports."""

import os
from typing import Any

from prebook.devstack.ports import is_free

SHARING = frozenset({"replay", "integration", "topology", "traps"})
"""Folders of tests that need the one running suite. They stay in one process, in their order."""
ALONE = frozenset({"test_back_pressure.py", "test_burst.py", "test_chaos.py", "test_replicas.py"})
"""Files in them that start suites of their own."""
SUITE = "suite"
LOWEST, EACH = 12_000, 2_000
"""Below the ports that suites draw for themselves, so that none is drawn between our look and its use."""


def port_base(count: int) -> int:
    """The first of so many ports in a row that nobody listens on."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
    lowest = LOWEST + number * EACH
    start = os.getpid() % 100 * count
    bases = (lowest + (start + step * count) % (EACH - count) for step in range(EACH // count))
    found = next((base for base in bases if all(map(is_free, range(base, base + count)))), None)
    assert found, f"no {count} free ports in a row between {lowest} and {lowest + EACH}"
    return found


def group(nodeid: str) -> str:
    """What one process runs from beginning to end: the tests of the one suite, or else those of one file."""
    file = nodeid.partition("::")[0]
    folder, name = file.split("/")[-2:]
    return SUITE if folder in SHARING and name not in ALONE else file


def scheduler(config: Any, log: Any) -> object:
    """By groups, in the order of the collection. xdist's own marks of groups do nothing under pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # it brings no types along

    config.option.loadscopereorder = False
    scheduling = LoadScopeScheduling(config, log)
    scheduling._split_scope = group
    return scheduling
