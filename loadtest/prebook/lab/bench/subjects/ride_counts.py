"""Resources per ride in addition to CPU time: messages, HTTP requests, statements, transactions and bytes.

Sources: statements from the database's log, in which all statements are logged; messages and HTTP requests
from the services' metrics; bytes from the broker's connection statistics and the position of the write-ahead log.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec

from prebook.contracts.plan import Coupling
from prebook.devstack.errors import UserError
from prebook.lab.bench.ride_load import RideLoad
from prebook.lab.bench.suite import BenchSuite

BROKER_STATS_INTERVAL_S = 6.0
"""Interval between two readings; the broker updates its connection statistics every 5 s, or later under load."""
BROKER_STATS_TIMEOUT_S = 60.0
RELOAD_PAUSE_S = 0.5
MAX_IDLE_BYTES = 2_000
"""Maximum difference between two readings that heartbeats account for."""
LOG_SETTINGS = {"log_statement": "'all'", "log_parameter_max_length": "0", "log_line_prefix": "'@%a@ '"}
STATEMENT = re.compile(r"@(?P<application>prebook-[^@]*)@ LOG:  (?:statement|execute [^:]*):\s*(?P<text>[^\n]*)")
BROKER_COUPLINGS = frozenset({Coupling.ONE_WAY.value, Coupling.REQUEST_REPLY.value})
METRIC_LINE = re.compile(r"^(?P<name>prebook_\w+_total)\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.MULTILINE)
COUPLING = re.compile(r'coupling="(?P<coupling>[^"]*)"')
SENT_METRIC = "prebook_messages_sent_total"
CALLS_METRIC = "prebook_http_client_requests_total"


class ConnectionStats(msgspec.Struct, frozen=True):
    """Bytes of one connection to the broker, as the management API reports them."""

    recv_oct: int = 0
    send_oct: int = 0


async def count_per_ride(load: RideLoad, plan: str, rate_per_s: float, rides: int) -> Mapping[str, float]:
    """Return the resources per ride at a rate, including each ride's share of the background activity.

    Raises:
        UserError: Rides or messages stayed open, or the broker's traffic did not stop.
    """
    suite = load.suite
    before = await _read_totals(suite)
    async with _log_statements(suite) as statements:
        await load.offer(plan, rate_per_s, rides)
    after = await _read_totals(suite)
    totals = {name: after[name] - before[name] for name in after} | {"statements": statements.total()}
    return {name: value / rides for name, value in totals.items()}


@asynccontextmanager
async def _log_statements(suite: BenchSuite) -> AsyncIterator[Counter[tuple[str, str]]]:
    """Log all statements during the block; yield a counter that is filled at its end.

    Its keys are pairs of application name and first line of the statement, of the services only.
    """
    path = Path(suite.state.data_dir) / "postgres" / "log"
    database = suite.database
    for name, value in LOG_SETTINGS.items():
        await database.execute(f"ALTER SYSTEM SET {name} = {value}")
    await _reload_settings(suite)
    start = (await asyncio.to_thread(path.stat)).st_size
    statements: Counter[tuple[str, str]] = Counter()
    try:
        yield statements
        log = (await asyncio.to_thread(path.read_bytes))[start:].decode(errors="replace")
        statements.update((match["application"], match["text"]) for match in STATEMENT.finditer(log))
    finally:
        for name in LOG_SETTINGS:
            await database.execute(f"ALTER SYSTEM RESET {name}")
        await _reload_settings(suite)


async def _reload_settings(suite: BenchSuite) -> None:
    await suite.database.execute("SELECT pg_reload_conf()")
    await asyncio.sleep(RELOAD_PAUSE_S)


async def _read_totals(suite: BenchSuite) -> dict[str, float]:
    octets = await _read_settled_octets(suite)
    wal = await suite.database.fetchval("SELECT pg_current_wal_lsn() - '0/0'")
    commits = await suite.database.fetchval("SELECT sum(xact_commit) FROM pg_stat_database")
    pages = [await _fetch_text(suite, f"{url}/metrics") for url in suite.state.internal_urls.values()]
    metrics = [match for page in pages for match in METRIC_LINE.finditer(page)]
    return {
        "broker messages": _sum(metrics, SENT_METRIC, BROKER_COUPLINGS),
        "HTTP requests": _sum(metrics, CALLS_METRIC, None),
        "transactions": float(commits),
        "WAL bytes": float(wal),
        "AMQP bytes": octets,
    }


def _sum(metrics: list["re.Match[str]"], name: str, couplings: frozenset[str] | None) -> float:
    return sum(
        float(metric["value"])
        for metric in metrics
        if metric["name"] == name and (couplings is None or _coupling(metric) in couplings)
    )


def _coupling(metric: "re.Match[str]") -> str:
    match = COUPLING.search(metric["labels"])
    return match["coupling"] if match else ""


async def _read_settled_octets(suite: BenchSuite) -> float:
    """Return the bytes of all connections once they grow by no more than heartbeats.

    Raises:
        UserError: They still grow after BROKER_STATS_TIMEOUT_S seconds.
    """
    octets = await _read_octets(suite)
    for _ in range(round(BROKER_STATS_TIMEOUT_S / BROKER_STATS_INTERVAL_S)):
        await asyncio.sleep(BROKER_STATS_INTERVAL_S)
        previous = octets
        octets = await _read_octets(suite)
        if abs(octets - previous) < MAX_IDLE_BYTES:
            return octets
    raise UserError(
        f"the broker still had traffic after {BROKER_STATS_TIMEOUT_S:g} s", "stop other clients of the broker"
    )


async def _read_octets(suite: BenchSuite) -> float:
    """Return the bytes received and sent by all open connections."""
    state = suite.state
    auth = aiohttp.BasicAuth(state.management_user, state.management_password)
    async with suite.session.get(f"{state.management_url}/api/connections", auth=auth) as response:
        connections = msgspec.json.decode(await response.read(), type=list[ConnectionStats])
    return float(sum(connection.recv_oct + connection.send_oct for connection in connections))


async def _fetch_text(suite: BenchSuite, url: str) -> str:
    async with suite.session.get(url) as response:
        return await response.text()
