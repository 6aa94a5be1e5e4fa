"""What a claim, a mark and a row that is written and claimed at once read does not grow with what waits, whatever the
server believed when it planned them.
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

FEW, TIMES, BATCH, KEYS = 2_000, 50, 200, 500
MOST_DEARER = 1.4
"""A level more of an index is a page more for each look; a look at all that waits would be several times as much."""
STAGE = """
    INSERT INTO outbox (message_id, kind, flow, conversation_id, route, message, not_before, ordering_key)
    SELECT $1 || n, 'request', 'f', 'k' || n % $3, 'broker', '{}', now(), 'k' || n % $3
    FROM generate_series(1, $2) AS n"""
GONE = STAGE.replace("ordering_key)", "ordering_key, state, sent_at)").replace(
    "$3\n    FROM", "$3, 'sent', now()\n    FROM"
)
CLAIM = f"SELECT * FROM claim_outbox('me', {BATCH}, interval '60 s', '{{}}', '{{}}')"  # noqa: S608 - a number
MINE = "SELECT seq FROM outbox WHERE state = 'waiting' AND claimed_by = 'me'"
BELIEFS = {
    "nothing known": (),
    "all was sent": ("UPDATE outbox SET state = 'sent', sent_at = now()", "ANALYZE outbox"),
    "half was sent": ("UPDATE outbox SET state = 'sent', sent_at = now() WHERE seq % 2 = 0", "ANALYZE outbox"),
    "it was empty": ("TRUNCATE outbox", "ANALYZE outbox"),
}
CLAIMED = """
    UPDATE outbox SET claimed_by = 'me', claimed_until = now() + interval '60 s' WHERE state = 'waiting'"""
TAKING = {
    "let_go": compile_statement(RELEASE_UNTRACKED)[0].replace("$1", "'me'").replace("$2", "'{}'"),
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
    # Nobody but the test says when statistics are gathered.
    await connection.execute("ALTER TABLE outbox SET (autovacuum_enabled = off)")
    yield connection
    await connection.close()


@pytest.mark.parametrize("belief", BELIEFS)
async def test_a_claim_and_a_mark_read_the_same_out_of_any_backlog(database: Connection, belief: str) -> None:
    few = await pages(database, belief, FEW)
    many = await pages(database, belief, FEW * TIMES)
    assert {name: read for name, read in many.items() if read > MOST_DEARER * few[name]} == {}


@pytest.mark.parametrize("belief", BELIEFS)
async def test_what_takes_rows_that_nobody_holds_reads_no_others(database: Connection, belief: str) -> None:
    few = await freed(database, belief, FEW)
    many = await freed(database, belief, FEW * TIMES)
    assert {name: read for name, read in many.items() if read > MOST_DEARER * few[name]} == {}


async def freed(database: Connection, belief: str, sent: int) -> dict[str, int]:
    """Pages read for a batch beside what was sent. Planned as above."""
    for name, statement in TAKING.items():
        await database.execute(f"PREPARE {name} AS {statement}")
    await database.execute(STAGE, "before", FEW, KEYS)
    for statement in (*BELIEFS[belief], "TRUNCATE outbox", *(f"EXECUTE {name}" for name in TAKING)):
        await database.execute(statement)
    await database.execute(GONE, "sent", sent, KEYS)
    await database.execute(STAGE, "", BATCH, KEYS)
    read = {}
    for name in TAKING:
        await database.execute(CLAIMED)
        read[name] = await _read(database, f"EXECUTE {name}")
        await database.execute(f"DEALLOCATE {name}")
    left = await database.fetchrow(
        "SELECT count(*) FILTER (WHERE state = 'sent'), count(*) FILTER (WHERE claimed_until < 'infinity') FROM outbox"
    )
    # The purge came last, and what was claimed then was not its business.
    assert left is not None
    assert tuple(left) == (sent - BATCH, BATCH)
    await database.execute("TRUNCATE outbox")
    return read


async def pages(database: Connection, belief: str, backlog: int) -> dict[str, int]:
    """Planned by what is believed, while nothing waits, and used for a backlog."""
    await database.execute(STAGE, "before", FEW, KEYS)
    for statement in (*BELIEFS[belief], "TRUNCATE outbox", CLAIM):
        await database.execute(statement)
    await database.execute(STAGE, "", backlog, KEYS)
    post = await _read(database, *_posting(f"new {belief} {backlog}"))
    claim = await _read(database, CLAIM)
    mark = await _read(
        database, compile_statement(MARK_SENT)[0].replace("$1", await _mine(database)).replace("$2", "'me'")
    )
    assert await database.fetchval("SELECT count(*) FROM outbox WHERE state = 'sent'") == BATCH
    await database.execute("TRUNCATE outbox")
    return {"post": post, "claim": claim, "mark": mark}


def _posting(name: str) -> tuple[str, Sequence[Any]]:
    """Of two rows, behind others of their keys: a statement and its values."""
    legacy = PendingWrites(enqueued=[OutboxMessage(request(id=f"{name} {n}"), "broker", f"k{n}") for n in range(2)])
    offered = {posting.envelope.id: posting for posting in legacy.enqueued}
    values = legacy.values(Handoff("me", timedelta(seconds=60), 2, offered))
    sql, names, _ = compile_statement(flush_statement(legacy.parts))
    return sql, [values[each] for each in names]


async def _mine(database: Connection) -> str:
    """What is claimed, as an array."""
    seqs = [row["seq"] for row in await database.fetch(MINE)]
    assert len(seqs) == BATCH
    return f"'{{{','.join(map(str, seqs))}}}'"


async def _read(database: Connection, statement: str, values: Sequence[Any] = ()) -> int:
    (told,) = json.loads(await database.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", *values))
    plan = told["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
