"""Memory and start time of the suite, which the README promises, measured and printed."""

import os
from collections import Counter
from contextlib import suppress

import psutil
import pytest

from prebook.contracts.plan import Coupling
from tests.conftest import Figure
from tests.integration.database_probe import DatabaseProbe
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite, suite_processes

pytestmark = pytest.mark.real
MB = 1_000_000
MAX_MEMORY_MB = 1000
MAX_STARTUP_S = 30.0


async def test_the_suite_stays_within_its_memory_limit(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, figure: Figure
) -> None:
    """The measure is the proportional set size, in which pages shared by processes (as in PostgreSQL) count once."""
    await database.verify_bookings(await rider.prebook_all([uniform_plan(coupling) for coupling in Coupling] * 5))
    pss: Counter[str] = Counter()
    rss: Counter[str] = Counter()
    for process in suite_processes(suite.state):
        with suppress(psutil.NoSuchProcess):  # a connection to the database may end meanwhile, and its process with it
            memory = process.memory_full_info()
            name = _program_name(process)
            pss[name] += memory.pss
            rss[name] += memory.rss
    lines = [
        f"{name:<22} {pss[name] / MB:6.0f} MB, with shared pages counted in every process {rss[name] / MB:6.0f} MB"
        for name in pss
    ]
    total = pss.total() / MB
    for line in (*lines, f"{'all processes':<22} {total:6.0f} MB, {rss.total() / MB:.0f} MB"):
        figure(line)
    if suite.state.broker_pid is None or suite.state.database_pid is None:
        pytest.skip("the memory of a broker and a database in containers cannot be read")
    assert total < MAX_MEMORY_MB


async def test_the_suite_starts_in_time(suite: Suite, figure: Figure) -> None:
    figure(f"started in {suite.startup_s:.1f} s, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if suite.contended and suite.startup_s >= MAX_STARTUP_S:
        pytest.skip(f"other programs used the processors; started in {suite.startup_s:.1f} s")
    assert suite.startup_s < MAX_STARTUP_S


def _program_name(process: psutil.Process) -> str:
    """Return the name of the Python module, or of the program."""
    arguments = process.cmdline()
    return arguments[arguments.index("-m") + 1] if "-m" in arguments else process.name()
