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
from prebook.devstack.errors import Trouble
from prebook.lab.bench.ride_load import Riders
from prebook.lab.bench.suite import Standing

BROKER_TOLD_S, TOLD_WITHIN_S, RELOADED_S = 6.0, 60.0, 0.5
"""The broker brings the figures of its connections up to date every 5 s, and later where it is busy."""
IDLE_BYTES = 2_000
"""Less than that between two looks: heartbeats, and no ride's."""
LOGGED = {"log_statement": "'all'", "log_parameter_max_length": "0", "log_line_prefix": "'@%a@ '"}
STATEMENT = re.compile(r"@(?P<who>prebook-[^@]*)@ LOG:  (?:statement|execute [^:]*):\s*(?P<text>[^\n]*)")
OVER_BROKER = frozenset({Coupling.ONE_WAY.value, Coupling.REQUEST_REPLY.value})
METRIC = re.compile(r"^(?P<name>prebook_\w+_total)\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.MULTILINE)
COUPLING = re.compile(r'coupling="(?P<coupling>[^"]*)"')
SENT, CALLED = "prebook_messages_sent_total", "prebook_http_calls_total"


class Connection(msgspec.Struct, frozen=True):
    """One of the broker's clients."""

    recv_oct: int = 0
    send_oct: int = 0


async def counted(riders: Riders, plan: str, rate_per_s: float, rides: int) -> Mapping[str, float]:
    """Figure's name -> its value for one ride, with its share of what goes on without rides."""
    suite = riders.suite
    before = await _totals(suite)
    async with _logged(suite) as statements:
        await riders.offer(plan, rate_per_s, rides)
    after = await _totals(suite)
    found = {name: after[name] - before[name] for name in after} | {"statements": statements.total()}
    return {name: value / rides for name, value in found.items()}


@asynccontextmanager
async def _logged(suite: Standing) -> AsyncIterator[Counter[tuple[str, str]]]:
    """Filled when the block ends: (session, first line of the statement) -> how often, of services only."""
    path, database = Path(suite.where.data_dir) / "postgres" / "log", suite.database
    for name, value in LOGGED.items():
        await database.execute(f"ALTER SYSTEM SET {name} = {value}")
    await _reload(suite)
    begin = (await asyncio.to_thread(path.stat)).st_size
    found: Counter[tuple[str, str]] = Counter()
    try:
        yield found
        written = (await asyncio.to_thread(path.read_bytes))[begin:].decode(errors="replace")
        found.update((each["who"], each["text"]) for each in STATEMENT.finditer(written))
    finally:
        for name in LOGGED:
            await database.execute(f"ALTER SYSTEM RESET {name}")
        await _reload(suite)


async def _reload(suite: Standing) -> None:
    await suite.database.execute("SELECT pg_reload_conf()")
    await asyncio.sleep(RELOADED_S)


async def _totals(suite: Standing) -> dict[str, float]:
    octets = await _settled(suite)
    wal = await suite.database.fetchval("SELECT pg_current_wal_lsn() - '0/0'")
    commits = await suite.database.fetchval("SELECT sum(xact_commit) FROM pg_stat_database")
    pages = [await _text(suite, f"{url}/metrics") for url in suite.where.urls.values()]
    metrics = [found for page in pages for found in METRIC.finditer(page)]
    return {
        "broker messages": _sum(metrics, SENT, OVER_BROKER),
        "HTTP requests": _sum(metrics, CALLED, None),
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


async def _settled(suite: Standing) -> float:
    """Bytes, once they grow no more. Raises Trouble."""
    seen = await _octets(suite)
    for _ in range(round(TOLD_WITHIN_S / BROKER_TOLD_S)):
        await asyncio.sleep(BROKER_TOLD_S)
        before, seen = seen, await _octets(suite)
        if abs(seen - before) < IDLE_BYTES:
            return seen
    raise Trouble(f"the broker's connections did not come to rest in {TOLD_WITHIN_S:g} s", "see what else uses them")


async def _octets(suite: Standing) -> float:
    """Both ways, of the connections that are open."""
    where = suite.where
    auth = aiohttp.BasicAuth(where.management_user, where.management_password)
    async with suite.session.get(f"{where.management_url}/api/connections", auth=auth) as answer:
        return float(
            sum(
                each.recv_oct + each.send_oct
                for each in msgspec.json.decode(await answer.read(), type=list[Connection])
            )
        )


async def _text(suite: Standing, url: str) -> str:
    async with suite.session.get(url) as answer:
        return await answer.text()
