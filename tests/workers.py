"""Distribution of tests and ports to parallel processes (`pytest -n 2`)."""

import os
from functools import cache
from pathlib import Path
from typing import Any

from prebook.devstack.ports import is_free

SHARED_SUITE_FOLDERS = frozenset({"browser", "replay", "integration", "topology", "traps"})
"""Folders with tests of a shared suite. They are marked `real`."""
FAULT_FILES = frozenset(
    {"test_amplification.py", "test_database_outages.py", "test_fault_catalogue.py", "test_faults.py"}
)
"""Files in these folders that inject faults. In several processes, they share another suite than the other tests."""
OWN_SUITE_FILES = frozenset(
    {
        "test_back_pressure.py",
        "test_burst.py",
        "test_chaos.py",
        "test_callback_receivers.py",
        "test_campaign.py",
        "test_crashing_poison_fault.py",
        "test_key_rotation.py",
        "test_formats.py",
        "test_http_fuzz.py",
        "test_message_fuzz.py",
        "test_newer_senders.py",
        "test_older_senders.py",
        "test_replicas.py",
        "test_tolerant_readers.py",
    }
)
"""Files in these folders that start their own suites."""
ROOT = Path(__file__).parents[1]
SUITE = "suite"
FAULTS = "suite with faults"
SUITES = frozenset({SUITE, FAULTS})
"""Groups of tests that share a suite: one process runs each of them, in its order."""
MIN_PORT = 12_000
"""Lowest port of the tests, below the ports that suites allocate for themselves."""
PORTS_PER_PROCESS = 2_000
"""Number of ports of each process."""


def port_base(count: int) -> int:
    """Return the first of ``count`` consecutive free ports."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
    lowest = MIN_PORT + number * PORTS_PER_PROCESS
    start = os.getpid() % 100 * count
    bases = (
        lowest + (start + step * count) % (PORTS_PER_PROCESS - count) for step in range(PORTS_PER_PROCESS // count)
    )
    free_base = next((base for base in bases if all(map(is_free, range(base, base + count)))), None)
    assert free_base, f"no {count} consecutive free ports between {lowest} and {lowest + PORTS_PER_PROCESS}"
    return free_base


def group(nodeid: str) -> str:
    """Return the group of a test, which one process runs as a whole: one of ``SUITES``, or its file."""
    file = nodeid.partition("::")[0]
    if not _uses_shared_suite(file):
        return file
    return FAULTS if Path(file).name in FAULT_FILES else SUITE


@cache
def _uses_shared_suite(file: str) -> bool:
    folder, name = file.split("/")[-2:]
    if folder not in SHARED_SUITE_FOLDERS or name in OWN_SUITE_FILES:
        return False
    return "pytest.mark.real" in (ROOT / file).read_text(encoding="utf-8")


def scheduler(config: Any, log: Any) -> object:
    """Schedule by groups, in the order of collection. xdist's own group marks have no effect under pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # has no type information

    config.option.loadscopereorder = False
    scheduling = LoadScopeScheduling(config, log)
    scheduling._split_scope = group
    return scheduling
