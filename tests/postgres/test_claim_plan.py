"""Claim, mark and claim-on-insert read a number of pages that is independent of the backlog.

This holds whatever statistics the server had when it planned the statements.
"""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any, TypeAlias

import asyncpg
import pytest

from prebook.messaging.outbox.handoff import Handoff
from prebook.messaging.unit_of_work import OutboxMessage
from prebook.postgres import purge
from prebook.postgres.connection import compile_statement
from prebook.postgres.dsn import asyncpg_dsn
from prebook.postgres.engine import PLANNER_SETTINGS
from prebook.postgres.flush import PendingWrites, flush_statement
from prebook.postgres.outbox import MARK_SENT, RELEASE_ORPHANED, RELEASE_UNTRACKED
from tests.databases import Databases
from tests.messaging.examples import request

FEW = 2_000
FACTOR = 50
BATCH = 200
KEYS = 500
MAX_GROWTH = 1.4
"""One more index level costs one more page per lookup; a scan of the backlog would cost several times as much."""
INSERT_WAITING = """
    INSERT INTO outbox (message_id, kind, flow, conversation_id, route, message, not_before, ordering_key)
    SELECT $1 || n, 'request', 'f', 'k' || n % $3, 'broker', '{}', now(), 'k' || n % $3
    FROM generate_series(1, $2) AS n"""
INSERT_SENT = INSERT_WAITING.replace("ordering_key)", "ordering_key, state, sent_at)").replace(
    "$3\n    FROM", "$3, 'sent', now()\n    FROM"
)
CLAIM = f"SELECT * FROM claim_outbox('me', {BATCH}, interval '60 s', '{{}}', '{{}}')"  # noqa: S608 - a number
SELECT_CLAIMED = "SELECT seq FROM outbox WHERE state = 'waiting' AND claimed_by = 'me'"
STATISTICS = {
    "no statistics": (),
    "all was sent": ("UPDATE outbox SET state = 'sent', sent_at = now()", "ANALYZE outbox"),
    "half was sent": ("UPDATE outbox SET state = 'sent', sent_at = now() WHERE seq % 2 = 0", "ANALYZE outbox"),
    "empty": ("TRUNCATE outbox", "ANALYZE outbox"),
}
CLAIM_ALL = """
    UPDATE outbox SET claimed_by = 'me', claimed_until = now() + interval '60 s' WHERE state = 'waiting'"""
STATEMENTS = {
    "release_untracked": compile_statement(RELEASE_UNTRACKED)[0].replace("$1", "'me'").replace("$2", "'{}'"),
    "release": compile_statement(RELEASE_ORPHANED)[0].replace("$1", "'another'"),
    "purge": compile_statement(purge.PURGE_SENT)[0].replace("$1", "0").replace("$2", f"{BATCH}"),
}
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture
async def database(databases: Databases) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(
        asyncpg_dsn(databases.create_migrated("pricing")),
        server_settings={"search_path": "pricing", **PLANNER_SETTINGS},
    )
    # Only the test decides when statistics are gathered.
    await connection.execute("ALTER TABLE outbox SET (autovacuum_enabled = off)")
    yield connection
    await connection.close()


@pytest.mark.parametrize("statistics", STATISTICS)
async def test_claim_mark_and_insert_read_as_many_pages_from_any_backlog(database: Connection, statistics: str) -> None:
    few = await count_backlog_pages(database, statistics, FEW)
    many = await count_backlog_pages(database, statistics, FEW * FACTOR)
    assert {name: read for name, read in many.items() if read > MAX_GROWTH * few[name]} == {}


@pytest.mark.parametrize("statistics", STATISTICS)
async def test_release_and_purge_read_no_sent_rows(database: Connection, statistics: str) -> None:
    few = await count_release_pages(database, statistics, FEW)
    many = await count_release_pages(database, statistics, FEW * FACTOR)
    assert {name: read for name, read in many.items() if read > MAX_GROWTH * few[name]} == {}


async def count_release_pages(database: Connection, statistics: str, sent: int) -> dict[str, int]:
    """Return the pages that each of STATEMENTS reads for a batch in a table with ``sent`` sent rows."""
    for name, statement in STATEMENTS.items():
        await database.execute(f"PREPARE {name} AS {statement}")
    await database.execute(INSERT_WAITING, "before", FEW, KEYS)
    for statement in (*STATISTICS[statistics], "TRUNCATE outbox", *(f"EXECUTE {name}" for name in STATEMENTS)):
        await database.execute(statement)
    await database.execute(INSERT_SENT, "sent", sent, KEYS)
    await database.execute(INSERT_WAITING, "", BATCH, KEYS)
    read = {}
    for name in STATEMENTS:
        await database.execute(CLAIM_ALL)
        read[name] = await _count_pages(database, f"EXECUTE {name}")
        await database.execute(f"DEALLOCATE {name}")
    remaining = await database.fetchrow(
        "SELECT count(*) FILTER (WHERE state = 'sent'), count(*) FILTER (WHERE claimed_until < 'infinity') FROM outbox"
    )
    # The purge is last and does not touch claimed rows.
    assert remaining is not None
    assert tuple(remaining) == (sent - BATCH, BATCH)
    await database.execute("TRUNCATE outbox")
    return read


async def count_backlog_pages(database: Connection, statistics: str, backlog: int) -> dict[str, int]:
    """Return the pages that each statement reads for a backlog, after it was planned with other statistics."""
    await database.execute(INSERT_WAITING, "before", FEW, KEYS)
    for statement in (*STATISTICS[statistics], "TRUNCATE outbox", CLAIM):
        await database.execute(statement)
    await database.execute(INSERT_WAITING, "", backlog, KEYS)
    insert = await _count_pages(database, *_insert_statement(f"new {statistics} {backlog}"))
    claim = await _count_pages(database, CLAIM)
    mark = await _count_pages(database, await _mark_statement(database))
    assert await database.fetchval("SELECT count(*) FROM outbox WHERE state = 'sent'") == BATCH
    await database.execute("TRUNCATE outbox")
    return {"insert": insert, "claim": claim, "mark": mark}


def _insert_statement(name: str) -> tuple[str, Sequence[Any]]:
    """Return the statement that enqueues and claims two rows behind others of their keys, and its values."""
    writes = PendingWrites(enqueued=[OutboxMessage(request(id=f"{name} {n}"), "broker", f"k{n}") for n in range(2)])
    offered = {message.envelope.id: message for message in writes.enqueued}
    values = writes.values(Handoff("me", timedelta(seconds=60), 2, offered))
    sql, names, _ = compile_statement(flush_statement(writes.parts))
    return sql, [values[each] for each in names]


async def _mark_statement(database: Connection) -> str:
    """Return the statement that marks the claimed rows as sent, with its values as literals."""
    sql, names, _ = compile_statement(MARK_SENT)
    claimed = await _claimed_array(database)
    literals = {"seqs": claimed, "positions": claimed, "owner": "'me'"}
    for number, name in enumerate(names, 1):
        sql = sql.replace(f"${number}", literals[name])
    return sql


async def _claimed_array(database: Connection) -> str:
    """Return the sequence numbers of the claimed rows as an array literal."""
    seqs = [row["seq"] for row in await database.fetch(SELECT_CLAIMED)]
    assert len(seqs) == BATCH
    return f"'{{{','.join(map(str, seqs))}}}'"


async def _count_pages(database: Connection, statement: str, values: Sequence[Any] = ()) -> int:
    (explained,) = json.loads(await database.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", *values))
    plan = explained["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
