"""What a ride takes of broker and database besides processor time: counted, not estimated.

Statements are counted in the server's own log, which writes down every one of them meanwhile; what is sent and called,
by the services' own metrics; bytes by the broker's account of its connections and by the database's log position.
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
BROKER_STATS_TIMEOUT_S = 60.0
RELOAD_PAUSE_S = 0.5
"""The broker brings the figures of its connections up to date every 5 s, and later where it is busy."""
MAX_IDLE_BYTES = 2_000
"""Less than that between two looks: heartbeats, and no ride's."""
LOG_SETTINGS = {"log_statement": "'all'", "log_parameter_max_length": "0", "log_line_prefix": "'@%a@ '"}
STATEMENT = re.compile(r"@(?P<who>prebook-[^@]*)@ LOG:  (?:statement|execute [^:]*):\s*(?P<text>[^\n]*)")
BROKER_COUPLINGS = frozenset({Coupling.ONE_WAY.value, Coupling.REQUEST_REPLY.value})
METRIC_LINE = re.compile(r"^(?P<name>prebook_\w+_total)\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.MULTILINE)
COUPLING = re.compile(r'coupling="(?P<coupling>[^"]*)"')
SENT_METRIC = "prebook_messages_sent_total"
CALLS_METRIC = "prebook_http_client_requests_total"


class ConnectionStats(msgspec.Struct, frozen=True):
    """One of the broker's clients."""

    recv_oct: int = 0
    send_oct: int = 0


async def count_per_ride(load: RideLoad, plan: str, rate_per_s: float, rides: int) -> Mapping[str, float]:
    """Figure's name -> its value for one ride, with its share of what goes on without rides."""
    suite = load.suite
    before = await _read_totals(suite)
    async with _log_statements(suite) as statements:
        await load.offer(plan, rate_per_s, rides)
    after = await _read_totals(suite)
    found = {name: after[name] - before[name] for name in after} | {"statements": statements.total()}
    return {name: value / rides for name, value in found.items()}


@asynccontextmanager
async def _log_statements(suite: BenchSuite) -> AsyncIterator[Counter[tuple[str, str]]]:
    """Filled when the block ends: (session, first line of the statement) -> how often, of services only."""
    path = Path(suite.state.data_dir) / "postgres" / "log"
    database = suite.database
    for name, value in LOG_SETTINGS.items():
        await database.execute(f"ALTER SYSTEM SET {name} = {value}")
    await _reload_settings(suite)
    begin = (await asyncio.to_thread(path.stat)).st_size
    found: Counter[tuple[str, str]] = Counter()
    try:
        yield found
        written = (await asyncio.to_thread(path.read_bytes))[begin:].decode(errors="replace")
        found.update((each["who"], each["text"]) for each in STATEMENT.finditer(written))
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
    pages = [await _fetch_text(suite, f"{url}/metrics") for url in suite.state.urls.values()]
    metrics = [found for page in pages for found in METRIC_LINE.finditer(page)]
    return {
        "broker messages": _sum(metrics, SENT_METRIC, BROKER_COUPLINGS),
        "HTTP requests": _sum(metrics, CALLS_METRIC, None),
        "transactions": float(commits),
        "WAL bytes": float(wal),
        "AMQP bytes": octets,
    }


def _sum(metrics: list["re.Match[str]"], name: str, couplings: frozenset[str] | None) -> float:
    return sum(
        float(each["value"])
        for each in metrics
        if each["name"] == name and (couplings is None or _coupling(each) in couplings)
    )


def _coupling(metric: "re.Match[str]") -> str:
    found = COUPLING.search(metric["labels"])
    return found["coupling"] if found else ""


async def _read_settled_octets(suite: BenchSuite) -> float:
    """Bytes, once they grow no more. Raises UserError."""
    seen = await _read_octets(suite)
    for _ in range(round(BROKER_STATS_TIMEOUT_S / BROKER_STATS_INTERVAL_S)):
        await asyncio.sleep(BROKER_STATS_INTERVAL_S)
        before = seen
        seen = await _read_octets(suite)
        if abs(seen - before) < MAX_IDLE_BYTES:
            return seen
    raise UserError(
        f"the broker's connections did not come to rest in {BROKER_STATS_TIMEOUT_S:g} s", "see what else uses them"
    )


async def _read_octets(suite: BenchSuite) -> float:
    """Both ways, of the connections that are open."""
    where = suite.state
    auth = aiohttp.BasicAuth(where.management_user, where.management_password)
    async with suite.session.get(f"{where.management_url}/api/connections", auth=auth) as answer:
        return float(
            sum(
                each.recv_oct + each.send_oct
                for each in msgspec.json.decode(await answer.read(), type=list[ConnectionStats])
            )
        )


async def _fetch_text(suite: BenchSuite, url: str) -> str:
    async with suite.session.get(url) as answer:
        return await answer.text()
