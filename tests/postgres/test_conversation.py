"""Records of a conversation on PostgreSQL: what is read, and that it reads a few pages of the largest table."""

import json
from datetime import timedelta

import asyncpg
import pytest

from prebook.contracts.conversations import MAX_RECORDS, Stage
from prebook.messaging.outbox.store import LOCAL_ROUTE
from prebook.messaging.recent_stages import RecentStages
from prebook.messaging.unit_of_work import OutboxMessage, PendingReply
from prebook.patterns.trace import trace_id
from prebook.postgres.connection import compile_statement
from prebook.postgres.conversation import READ_RECEIVED, READ_SENT, SqlConversations
from prebook.postgres.engine import PLANNER_SETTINGS, create_engine
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from tests.messaging.examples import NOW, request
from tests.postgres.conftest import SERVICE

pytestmark = pytest.mark.real
MANY = 20_000
MAX_PAGES = 20
"""Pages of an index lookup and of the few rows that it finds; a scan of the table reads hundreds."""
FILL = """
    INSERT INTO pricing.outbox (message_id, kind, flow, conversation_id, route, message, not_before)
    SELECT 'x' || n || '.f', 'request', 'f', 'x' || n, 'broker', '{"headers": {}}', now()
    FROM generate_series(1, $1) AS n"""
FILL_INBOX = """
    INSERT INTO pricing.inbox (message_id, flow, conversation_id)
    SELECT 'x' || n || '.f', 'f', 'x' || n FROM generate_series(1, $1) AS n"""


async def test_the_records_of_one_conversation_are_read(admin_url: str, admin: asyncpg.Connection) -> None:
    engine = create_engine(SERVICE, admin_url)
    begin = unit_of_work_factory(engine, SqlUnitOfWork)
    message = request("b1")
    reply = message.reply_with(message.body, source="notification", at=NOW)
    accepted = request("b1", id="b1.quote_fare", flow="quote_fare", attempt=3)
    async with begin() as work:
        assert await work.record_message(message)
        await work.record_reply(reply)
        await work.enqueue([OutboxMessage(reply, "broker", "b1"), OutboxMessage(accepted, LOCAL_ROUTE, "b1")])
        await work.await_replies([PendingReply(accepted, NOW + timedelta(hours=1), None)])
    for other in ("b", "b11", "b1-", "c1"):
        async with begin() as work:
            await work.record_message(request(other))
            await work.enqueue([OutboxMessage(request(other), "broker", other)])
    await admin.execute("""
        INSERT INTO pricing.blocked (group_name, message_id, ordering_key, message, status, due_at, error)
        VALUES ('g', 'b1.f', 'b1', '{}', 'waiting', now(), 'ValueError: unknown rider: ''rosa'''),
            ('g', 'b11.f', 'b11', '{}', 'waiting', now(), '')""")
    recent = RecentStages()
    recent.on_handled(message, 0.5)

    records = await SqlConversations(SERVICE, engine, recent).read("b1")
    nothing = await SqlConversations(SERVICE, engine, recent).read("b2")
    await engine.dispose()

    assert records.service == SERVICE
    assert [each.message_id for each in records.received] == [message.id]
    assert records.received[0].replied_at == NOW
    replied, local = sorted(records.sent, key=lambda each: each.route)
    assert (replied.message_id, replied.state, replied.sent_at) == (reply.id, "waiting", None)
    assert replied.type == records.received[0].reply_type
    assert (local.message_id, local.route, local.attempt) == ("b1.quote_fare", LOCAL_ROUTE, 3)
    assert local.trace_id == trace_id(accepted.trace.traceparent)
    assert [each.message_id for each in records.pending] == ["b1.quote_fare"]
    assert [(each.message_id, each.error) for each in records.blocked] == [("b1.f", "ValueError: unknown rider: ...")]
    assert [(each.stage, each.seconds) for each in records.stages] == [(Stage.HANDLED, 0.5)]
    assert records.is_complete
    assert (nothing.sent, nothing.received, nothing.pending, nothing.blocked, nothing.stages) == ((), (), (), (), ())


async def test_an_answer_is_bounded_and_says_so(admin_url: str, admin: asyncpg.Connection) -> None:
    await admin.execute(
        """INSERT INTO pricing.inbox (message_id, flow, conversation_id)
        SELECT 'long.f.' || n, 'f', 'long' FROM generate_series(1, $1) AS n""",
        MAX_RECORDS + 1,
    )
    engine = create_engine(SERVICE, admin_url)
    records = await SqlConversations(SERVICE, engine, RecentStages()).read("long")
    await engine.dispose()
    assert (len(records.received), records.is_complete) == (MAX_RECORDS, False)


@pytest.mark.parametrize(("fill", "statement"), [(FILL, READ_SENT), (FILL_INBOX, READ_RECEIVED)])
async def test_a_conversation_is_one_range_of_the_primary_key(
    admin: asyncpg.Connection, fill: str, statement: object
) -> None:
    await admin.execute(fill, MANY)
    await admin.execute("SET search_path = pricing")
    for name, value in PLANNER_SETTINGS.items():
        await admin.execute(f"SET {name} = '{value}'")
    sql, names, _ = compile_statement(statement)
    values = {"conversation_id": "x77", "limit": 10}
    await admin.execute(f"PREPARE read AS {sql}")
    arguments = ", ".join(repr(values[name]) for name in names)
    (explained,) = await admin.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT json) EXECUTE read ({arguments})")
    (plan,) = json.loads(explained[0])
    await admin.execute("DEALLOCATE read")
    assert plan["Plan"]["Actual Rows"] == 1
    assert plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] <= MAX_PAGES, plan
