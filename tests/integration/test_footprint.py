"""What the suite takes of a machine: a promise of the README, measured and printed."""

import os
from collections import Counter

import psutil
import pytest

from tests.conftest import Figure
from tests.integration.database_probe import DatabaseProbe
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite, suite_processes

pytestmark = pytest.mark.real
MB = 1_000_000
MOST_MB, UP_WITHIN_S = 1000, 30.0
PURE = ("sync_api", "async_api", "one_way", "request_reply")


async def test_resident_memory(suite: Suite, rider: RiderClient, database: DatabaseProbe, figure: Figure) -> None:
    """Proportional set size: pages that several processes share, as PostgreSQL's do, count once."""
    await database.verify_bookings(await rider.prebook_all([uniform_plan(coupling) for coupling in PURE] * 5))
    pss: Counter[str] = Counter()
    rss: Counter[str] = Counter()
    for process in suite_processes(suite.state):
        taken = process.memory_full_info()
        pss[_name(process)] += taken.pss
        rss[_name(process)] += taken.rss
    lines = [f"{name:<22} {pss[name] / MB:6.0f} MB, shared pages twice {rss[name] / MB:6.0f} MB" for name in pss]
    total = pss.total() / MB
    for line in (*lines, f"{'all processes':<22} {total:6.0f} MB, {rss.total() / MB:.0f} MB"):
        figure(line)
    if suite.state.broker_pid is None or suite.state.database_pid is None:
        pytest.skip("broker and database run in containers of an engine: their memory is not ours to see")
    assert total < MOST_MB


async def test_up_in_time(suite: Suite, figure: Figure) -> None:
    figure(f"up in {suite.startup_s:.1f} s, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if suite.contended and suite.startup_s >= UP_WITHIN_S:
        pytest.skip(f"other programs took the processors meanwhile; up in {suite.startup_s:.1f} s")
    assert suite.startup_s < UP_WITHIN_S


def _name(process: psutil.Process) -> str:
    """The module or the program."""
    line = process.cmdline()
    return line[line.index("-m") + 1] if "-m" in line else process.name()
