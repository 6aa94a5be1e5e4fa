"""What a claim and a mark read does not grow with what waits, whatever the server believed when it planned them."""

import json
from collections.abc import AsyncIterator
from typing import TypeAlias

import asyncpg
import pytest

from prebook.postgres.engine import PLANS
from prebook.postgres.outbox import SENT
from prebook.postgres.session import compiled
from tests.databases import Databases, dsn

FEW, TIMES, BATCH, KEYS, MOST_DEARER = 2_000, 20, 200, 500, 1.15
STAGE = """
    INSERT INTO outbox (message_id, kind, flow, conversation, lane, wire, not_before, order_key)
    SELECT $1 || n, 'request', 'f', 'k' || n % $3, 'broker', '{}', now(), 'k' || n % $3
    FROM generate_series(1, $2) AS n"""
CLAIM = f"SELECT * FROM claim_outbox('me', {BATCH}, interval '60 s', '{{}}')"  # noqa: S608 - a number
MINE = "SELECT seq FROM outbox WHERE claimed_by = 'me'"
BELIEFS = {
    "nothing known": (),
    "all was sent": ("UPDATE outbox SET state = 'sent', sent_at = now()", "ANALYZE outbox", "TRUNCATE outbox"),
    "half was sent": (
        "UPDATE outbox SET state = 'sent', sent_at = now() WHERE seq % 2 = 0",
        "ANALYZE outbox",
        "TRUNCATE outbox",
    ),
    "it was empty": ("TRUNCATE outbox", "ANALYZE outbox"),
}
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture
async def database(databases: Databases) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(
        dsn(databases.migrated("pricing")), server_settings={"search_path": "pricing", **PLANS}
    )
    # Nobody but the test says when statistics are gathered.
    await connection.execute("ALTER TABLE outbox SET (autovacuum_enabled = off)")
    yield connection
    await connection.close()


@pytest.mark.parametrize("belief", BELIEFS)
async def test_a_claim_and_a_mark_read_the_same_out_of_any_backlog(database: Connection, belief: str) -> None:
    await database.execute(STAGE, "before", FEW, KEYS)
    for statement in BELIEFS[belief]:
        await database.execute(statement)
    few = await pages(database, FEW)
    many = await pages(database, FEW * TIMES)
    assert many["claim"] <= MOST_DEARER * few["claim"]
    assert many["mark"] <= MOST_DEARER * few["mark"]


async def pages(database: Connection, backlog: int) -> dict[str, int]:
    await database.execute(STAGE, f"{backlog} ", backlog, KEYS)
    claim = await _read(database, CLAIM)
    seqs = [row["seq"] for row in await database.fetch(MINE)]
    assert len(seqs) == BATCH
    sql = compiled(SENT)[0].replace("$1", f"'{{{','.join(map(str, seqs))}}}'")
    mark = await _read(database, sql)
    await database.execute("DELETE FROM outbox WHERE claimed_by = 'me'")
    return {"claim": claim, "mark": mark}


async def _read(database: Connection, statement: str) -> int:
    (told,) = json.loads(await database.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"))
    plan = told["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
