"""Rows that nobody could take: each ends with its cause, stops nobody else, and can be sent again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from prebook.contracts.events import OfferSettled, OfferVerdict
from prebook.flows import OFFER_SETTLED
from prebook.messaging import codec
from prebook.messaging.envelope import Envelope, Kind
from prebook.messaging.observer import Unwatched
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.outbox.store import Claimed
from prebook.messaging.unit_of_work import Posting
from prebook.postgres.engine import engine_for
from prebook.postgres.message_column import to_column
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.outbox_admin import GivenUp, OutboxRow, Terms, objection
from prebook.postgres.unit_of_work import SqlWork, units_of_work
from tests.conditions import becomes, eventually
from tests.databases import Databases, dsn, role_url
from tests.messaging.examples import NOW, PLAN

SERVICE = "matching"
ODD = """
    INSERT INTO matching.outbox (message_id, kind, flow, conversation, lane, wire, not_before, order_key)
    VALUES ('odd', 'fact', 'offer_settled', 'b1', 'broker', '{"v": 2, "headers": {}}', now(), 'b1')"""
AWAITED = """
    INSERT INTO matching.awaited (request_id, flow, conversation, wire, due_at)
    VALUES ($1, 'ask_fleet', 'b1', $2, now() - interval '1 s')"""
TOO_LARGE = "x" * (codec.LONGEST_BODY + 1)


@pytest.fixture(scope="module")
def url(databases: Databases) -> str:
    return databases.migrated(SERVICE)


def fact(name: str, driver: str = "d") -> Posting:
    body = OfferSettled(booking_id=name, fleet="ada", driver=driver, verdict=OfferVerdict.ACCEPTED)
    told = Envelope(
        id=name,
        kind=Kind.FACT,
        flow=OFFER_SETTLED.name,
        body=body,
        source=SERVICE,
        conversation=name,
        time=NOW,
        plan=PLAN,
        extra={"prebook-x-kept": "along"},
    )
    return Posting(told, "broker", "one key")


@asynccontextmanager
async def relaying(url: str, sent: list[Envelope]) -> AsyncIterator[SqlOutbox]:
    async def send(row: Claimed) -> None:
        sent.append(row.envelope)

    engine = engine_for(SERVICE, role_url(url, SERVICE))
    outbox = SqlOutbox(engine, "relay")
    task = asyncio.create_task(Relay(outbox, send, Unwatched()).run())
    try:
        yield outbox
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await engine.dispose()


async def staged(url: str, *postings: Posting) -> None:
    engine = engine_for(SERVICE, role_url(url, SERVICE))
    async with units_of_work(engine, SqlWork)() as work:
        await work.post(postings)
    await engine.dispose()


async def test_an_oversized_row_stops_nobody_is_named_and_leaves_once_when_it_fits(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Envelope] = []
    await staged(url, fact("before"), fact("large", TOO_LARGE), fact("after"))
    connection = await asyncpg.connect(dsn(url))
    given_up = GivenUp(connection, SERVICE)
    async with relaying(url, sent) as outbox:
        await becomes(lambda: [e.id for e in sent] == ["before", "after"], within_s=10)
        (row,) = await given_up.rows(["undeliverable"], {"cause": "too_large"}, 10)
        assert (row.message_id, row.type, row.tries) == ("large", "prebook.offer_settled.v1", 0)
        assert str(codec.LONGEST_BODY) in (row.error or "")
        assert (await outbox.depth()).given_up == {("undeliverable", "too_large"): 1}
        monkeypatch.setattr(codec, "LONGEST_BODY", 2 * codec.LONGEST_BODY)  # the cause is taken away
        assert await given_up.resend([row], revive=False) == [row.id]
        await becomes(lambda: len(sent) == 3, within_s=10)
        await eventually(lambda: _nothing(outbox))
        assert await given_up.resend([row], revive=False) == [], "what is under way or sent is not sent again"
    await connection.close()
    again = sent[-1]
    assert (again.id, again.extra, again.time) == ("large", {"prebook-x-kept": "along"}, NOW)
    assert [e.id for e in sent].count("large") == 1


async def test_a_row_that_holds_no_message_stops_nobody_and_is_named(url: str) -> None:
    sent: list[Envelope] = []
    await staged(url, fact("first"))
    connection = await asyncpg.connect(dsn(url))
    await connection.execute(ODD)
    await staged(url, fact("last"))
    async with relaying(url, sent) as outbox:
        await becomes(lambda: [e.id for e in sent] == ["first", "last"], within_s=10)
        (row,) = await GivenUp(connection, SERVICE).rows(["undeliverable"], {"cause": "bad_row"}, 10)
        assert (row.message_id, row.tries) == ("odd", 0)
        assert (await outbox.depth()).given_up == {("undeliverable", "bad_row"): 1}
    await connection.close()


async def test_a_row_that_is_awaited_and_not_understood_holds_up_no_other(url: str) -> None:
    connection = await asyncpg.connect(dsn(url))
    await connection.execute(AWAITED, "odd", '{"v": 2}')
    await connection.execute(AWAITED, "good", to_column(fact("good").envelope))
    engine = engine_for(SERVICE, role_url(url, SERVICE))
    due = await SqlOutbox(engine, "relay").due(10, lease_s=60.0)
    await connection.execute("DELETE FROM matching.awaited")
    await connection.close()
    await engine.dispose()
    assert [said.id for said in due] == ["good"]


async def _nothing(outbox: SqlOutbox) -> bool:
    depth = await outbox.depth()
    return not depth.waiting and not depth.given_up


AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
TERMS = Terms(now=AT, remembered_s=7 * 24 * 3600.0)


def row(state: str = "undeliverable", *, age: timedelta = timedelta(hours=1), late: bool = False) -> OutboxRow:
    return OutboxRow(
        service=SERVICE,
        id=1,
        state=state,
        cause="unroutable",
        type="t",
        kind="fact",
        flow="f",
        message_id="m",
        conversation="c",
        lane="broker",
        order_key="c",
        tries=12,
        created_at=AT - age,
        ended_at=AT,
        expires_at=AT - timedelta(seconds=1) if late else None,
        error="e",
    )


def test_what_is_sent_again_is_what_was_given_up_is_waited_for_and_is_known_to_inboxes() -> None:
    assert objection(row(), TERMS) == ""
    assert "only what was given up" in objection(row("sent"), TERMS)
    assert "--revive" in objection(row("expired", late=True), TERMS)
    assert "--force" in objection(row(age=timedelta(days=8)), TERMS)
    allowed = Terms(now=AT, remembered_s=TERMS.remembered_s, revive=True, force=True)
    assert objection(row("expired", age=timedelta(days=8), late=True), allowed) == ""
    assert objection(row("waiting"), allowed) != ""
