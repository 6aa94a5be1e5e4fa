"""Unsendable rows are abandoned with their cause, hold up no other row, and can be sent again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from prebook.contracts.events import OfferSettled, OfferVerdict
from prebook.flows import OFFER_SETTLED
from prebook.messaging import codec
from prebook.messaging.envelope import Envelope, MessageKind
from prebook.messaging.observer import NullObserver
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.outbox.store import LeasedRow
from prebook.messaging.unit_of_work import OutboxMessage
from prebook.postgres.dsn import asyncpg_dsn
from prebook.postgres.engine import create_engine
from prebook.postgres.message_column import to_column
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.outbox_admin import OutboxAdmin
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from tests.conditions import poll_until, wait_until
from tests.databases import Databases, role_url
from tests.messaging.examples import NOW, PLAN

SERVICE = "matching"
INSERT_UNREADABLE_ROW = """
    INSERT INTO matching.outbox (message_id, kind, flow, conversation_id, route, message, not_before, ordering_key)
    VALUES ('unreadable', 'event', 'offer_settled', 'b1', 'broker', '{"v": 2, "headers": {}}', now(), 'b1')"""
INSERT_PENDING_REPLY = """
    INSERT INTO matching.pending_reply (request_id, flow, conversation_id, message, due_at)
    VALUES ($1, 'ask_fleet', 'b1', $2, now() - interval '1 s')"""
TOO_LARGE = "x" * (codec.MAX_BODY_BYTES + 1)


@pytest.fixture(scope="module")
def url(databases: Databases) -> str:
    return databases.create_migrated(SERVICE)


def event_message(name: str, driver: str = "d") -> OutboxMessage:
    body = OfferSettled(booking_id=name, fleet="ada", driver=driver, verdict=OfferVerdict.ACCEPTED)
    envelope = Envelope(
        id=name,
        kind=MessageKind.EVENT,
        flow=OFFER_SETTLED.name,
        body=body,
        source=SERVICE,
        conversation_id=name,
        time=NOW,
        plan=PLAN,
        extra={"prebook-x-kept": "value"},
    )
    return OutboxMessage(envelope, "broker", "one key")


@asynccontextmanager
async def run_relay(url: str, sent: list[Envelope]) -> AsyncIterator[SqlOutbox]:
    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope)

    engine = create_engine(SERVICE, role_url(url, SERVICE))
    outbox = SqlOutbox(engine, "relay")
    task = asyncio.create_task(Relay(outbox, NullObserver()).run(send))
    try:
        yield outbox
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await engine.dispose()


async def enqueue(url: str, *messages: OutboxMessage) -> None:
    engine = create_engine(SERVICE, role_url(url, SERVICE))
    async with unit_of_work_factory(engine, SqlUnitOfWork)() as work:
        await work.enqueue(messages)
    await engine.dispose()


async def test_an_oversized_row_is_abandoned_and_sent_once_after_the_limit_is_raised(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Envelope] = []
    await enqueue(url, event_message("before"), event_message("large", TOO_LARGE), event_message("after"))
    connection = await asyncpg.connect(asyncpg_dsn(url))
    outbox_admin = OutboxAdmin(connection, SERVICE)
    async with run_relay(url, sent) as outbox:
        await wait_until(lambda: [e.id for e in sent] == ["before", "after"], timeout_s=10)
        (row,) = await outbox_admin.list_rows(["undeliverable"], {"cause": "too_large"}, 10)
        assert (row.message_id, row.type, row.failures) == ("large", "prebook.offer_settled.v1", 0)
        assert str(codec.MAX_BODY_BYTES) in (row.error or "")
        assert (await outbox.read_depth()).abandoned == {("undeliverable", "too_large"): 1}
        monkeypatch.setattr(codec, "MAX_BODY_BYTES", 2 * codec.MAX_BODY_BYTES)  # removes the cause
        assert await outbox_admin.resend([row], ignore_expiry=False) == [row.id]
        await wait_until(lambda: len(sent) == 3, timeout_s=10)
        await poll_until(lambda: _is_empty(outbox))
        assert await outbox_admin.resend([row], ignore_expiry=False) == [], "a waiting or sent row is not sent again"
    await connection.close()
    resent = sent[-1]
    assert (resent.id, resent.extra, resent.time) == ("large", {"prebook-x-kept": "value"}, NOW)
    assert [e.id for e in sent].count("large") == 1


async def test_an_unreadable_row_is_abandoned_with_its_cause(url: str) -> None:
    sent: list[Envelope] = []
    await enqueue(url, event_message("first"))
    connection = await asyncpg.connect(asyncpg_dsn(url))
    await connection.execute(INSERT_UNREADABLE_ROW)
    await enqueue(url, event_message("last"))
    async with run_relay(url, sent) as outbox:
        await wait_until(lambda: [e.id for e in sent] == ["first", "last"], timeout_s=10)
        (row,) = await OutboxAdmin(connection, SERVICE).list_rows(["undeliverable"], {"cause": "bad_row"}, 10)
        assert (row.message_id, row.failures) == ("unreadable", 0)
        assert (await outbox.read_depth()).abandoned == {("undeliverable", "bad_row"): 1}
    await connection.close()


async def test_an_unreadable_pending_reply_holds_up_no_other(url: str) -> None:
    connection = await asyncpg.connect(asyncpg_dsn(url))
    await connection.execute(INSERT_PENDING_REPLY, "unreadable", '{"v": 2}')
    await connection.execute(INSERT_PENDING_REPLY, "good", to_column(event_message("good").envelope))
    engine = create_engine(SERVICE, role_url(url, SERVICE))
    due = await SqlOutbox(engine, "relay").claim_overdue(10, lease_s=60.0)
    await connection.execute("DELETE FROM matching.pending_reply")
    await connection.close()
    await engine.dispose()
    assert [each.id for each in due] == ["good"]


async def _is_empty(outbox: SqlOutbox) -> bool:
    depth = await outbox.read_depth()
    return not depth.waiting and not depth.abandoned
