"""Rows that nobody could take: each ends with its cause, stops nobody else, and can be sent again."""

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
ODD = """
    INSERT INTO matching.outbox (message_id, kind, flow, conversation_id, route, message, not_before, ordering_key)
    VALUES ('odd', 'event', 'offer_settled', 'b1', 'broker', '{"v": 2, "headers": {}}', now(), 'b1')"""
AWAITED = """
    INSERT INTO matching.pending_reply (request_id, flow, conversation_id, message, due_at)
    VALUES ($1, 'ask_fleet', 'b1', $2, now() - interval '1 s')"""
TOO_LARGE = "x" * (codec.MAX_BODY_BYTES + 1)


@pytest.fixture(scope="module")
def url(databases: Databases) -> str:
    return databases.create_migrated(SERVICE)


def fact(name: str, driver: str = "d") -> OutboxMessage:
    body = OfferSettled(booking_id=name, fleet="ada", driver=driver, verdict=OfferVerdict.ACCEPTED)
    told = Envelope(
        id=name,
        kind=MessageKind.EVENT,
        flow=OFFER_SETTLED.name,
        body=body,
        source=SERVICE,
        conversation_id=name,
        time=NOW,
        plan=PLAN,
        extra={"prebook-x-kept": "along"},
    )
    return OutboxMessage(told, "broker", "one key")


@asynccontextmanager
async def relaying(url: str, sent: list[Envelope]) -> AsyncIterator[SqlOutbox]:
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


async def staged(url: str, *postings: OutboxMessage) -> None:
    engine = create_engine(SERVICE, role_url(url, SERVICE))
    async with unit_of_work_factory(engine, SqlUnitOfWork)() as work:
        await work.enqueue(postings)
    await engine.dispose()


async def test_an_oversized_row_stops_nobody_is_named_and_leaves_once_when_it_fits(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Envelope] = []
    await staged(url, fact("before"), fact("large", TOO_LARGE), fact("after"))
    connection = await asyncpg.connect(asyncpg_dsn(url))
    given_up = OutboxAdmin(connection, SERVICE)
    async with relaying(url, sent) as outbox:
        await wait_until(lambda: [e.id for e in sent] == ["before", "after"], timeout_s=10)
        (row,) = await given_up.list_rows(["undeliverable"], {"cause": "too_large"}, 10)
        assert (row.message_id, row.type, row.failures) == ("large", "prebook.offer_settled.v1", 0)
        assert str(codec.MAX_BODY_BYTES) in (row.error or "")
        assert (await outbox.read_depth()).abandoned == {("undeliverable", "too_large"): 1}
        monkeypatch.setattr(codec, "MAX_BODY_BYTES", 2 * codec.MAX_BODY_BYTES)  # the cause is taken away
        assert await given_up.resend([row], ignore_expiry=False) == [row.id]
        await wait_until(lambda: len(sent) == 3, timeout_s=10)
        await poll_until(lambda: _nothing(outbox))
        assert await given_up.resend([row], ignore_expiry=False) == [], "what is under way or sent is not sent again"
    await connection.close()
    again = sent[-1]
    assert (again.id, again.extra, again.time) == ("large", {"prebook-x-kept": "along"}, NOW)
    assert [e.id for e in sent].count("large") == 1


async def test_a_row_that_holds_no_message_stops_nobody_and_is_named(url: str) -> None:
    sent: list[Envelope] = []
    await staged(url, fact("first"))
    connection = await asyncpg.connect(asyncpg_dsn(url))
    await connection.execute(ODD)
    await staged(url, fact("last"))
    async with relaying(url, sent) as outbox:
        await wait_until(lambda: [e.id for e in sent] == ["first", "last"], timeout_s=10)
        (row,) = await OutboxAdmin(connection, SERVICE).list_rows(["undeliverable"], {"cause": "bad_row"}, 10)
        assert (row.message_id, row.failures) == ("odd", 0)
        assert (await outbox.read_depth()).abandoned == {("undeliverable", "bad_row"): 1}
    await connection.close()


async def test_a_row_that_is_awaited_and_not_understood_holds_up_no_other(url: str) -> None:
    connection = await asyncpg.connect(asyncpg_dsn(url))
    await connection.execute(AWAITED, "odd", '{"v": 2}')
    await connection.execute(AWAITED, "good", to_column(fact("good").envelope))
    engine = create_engine(SERVICE, role_url(url, SERVICE))
    due = await SqlOutbox(engine, "relay").claim_overdue(10, lease_s=60.0)
    await connection.execute("DELETE FROM matching.pending_reply")
    await connection.close()
    await engine.dispose()
    assert [said.id for said in due] == ["good"]


async def _nothing(outbox: SqlOutbox) -> bool:
    depth = await outbox.read_depth()
    return not depth.waiting and not depth.abandoned
