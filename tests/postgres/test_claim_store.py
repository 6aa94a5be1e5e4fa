"""Claim store on PostgreSQL: bodies commit with their messages, and are deleted when nothing refers to them."""

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.messaging.claim_checks import ClaimCheckPolicy
from prebook.messaging.unit_of_work import OutboxMessage, StoredBody
from prebook.patterns.claim_check import ClaimCheck
from prebook.postgres.claim_store import PURGE_EXPIRED_BODIES, UnsentBodies
from prebook.postgres.engine import create_engine
from prebook.postgres.purge import Purger
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from tests.databases import role_url
from tests.messaging.examples import request
from tests.postgres.conftest import SERVICE

LIFETIME = timedelta(days=15)
POLICY = ClaimCheckPolicy(threshold_bytes=10, lifetime=LIFETIME)
SECONDS_LEFT = "SELECT extract(epoch FROM expires_at - now())::float FROM pricing.checked_body WHERE id = $1"


@pytest.fixture
async def engine(admin_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(SERVICE, role_url(admin_url, SERVICE))
    yield engine
    await engine.dispose()


@pytest.fixture(autouse=True)
async def empty_tables(admin: asyncpg.Connection) -> None:
    await admin.execute("TRUNCATE pricing.outbox, pricing.checked_body")


async def store(engine: AsyncEngine, *conversations: str) -> list[str]:
    """Enqueue a message with a claim check for each conversation, in one transaction; return the references."""
    async with unit_of_work_factory(engine, SqlUnitOfWork)() as work:
        return await enqueue(work, *conversations)


async def enqueue(work: SqlUnitOfWork, *conversations: str) -> list[str]:
    pairs = [POLICY.check_in(request(each)) for each in conversations]
    await work.store_bodies([body for _, body in pairs if body])
    await work.enqueue([OutboxMessage(message, "broker", message.conversation_id) for message, _ in pairs])
    return [message.body.reference for message, _ in pairs if isinstance(message.body, ClaimCheck)]


async def enqueue_and_fail(engine: AsyncEngine) -> None:
    async with unit_of_work_factory(engine, SqlUnitOfWork)() as work:
        await enqueue(work, "b1")
        raise ZeroDivisionError


async def read(engine: AsyncEngine, reference: str) -> StoredBody | None:
    async with unit_of_work_factory(engine, SqlUnitOfWork)() as work:
        return await work.read_body(reference)


async def expire(admin: asyncpg.Connection) -> None:
    await admin.execute("UPDATE pricing.checked_body SET expires_at = now() - interval '1 s'")


async def set_outbox(admin: asyncpg.Connection, state: str) -> None:
    await admin.execute(
        "UPDATE pricing.outbox SET state = $1, sent_at = CASE $1 WHEN 'sent' THEN now() END, cause = 'c', "
        "abandoned_at = now()",
        state,
    )


@pytest.mark.parametrize("count", [1, 3])
async def test_bodies_commit_with_their_messages(engine: AsyncEngine, admin: asyncpg.Connection, count: int) -> None:
    references = await store(engine, *(f"b{number}" for number in range(count)))
    stored = [await read(engine, each) for each in references]
    assert len(stored) == count
    assert all(each is not None and each.flow == "notify_rider" for each in stored)
    assert await admin.fetchval("SELECT count(*) FROM pricing.outbox") == count
    for reference in references:
        assert abs(await admin.fetchval(SECONDS_LEFT, reference) - LIFETIME.total_seconds()) < 60


async def test_neither_is_left_by_a_transaction_that_fails(engine: AsyncEngine, admin: asyncpg.Connection) -> None:
    with pytest.raises(ZeroDivisionError):
        await enqueue_and_fail(engine)
    assert await admin.fetchval("SELECT count(*) FROM pricing.checked_body") == 0
    assert await admin.fetchval("SELECT count(*) FROM pricing.outbox") == 0


async def test_the_first_read_is_recorded(engine: AsyncEngine, admin: asyncpg.Connection) -> None:
    (reference,) = await store(engine, "b1")
    query = "SELECT read_at FROM pricing.checked_body"
    assert await admin.fetchval(query) is None
    await read(engine, reference)
    first = await admin.fetchval(query)
    await read(engine, reference)
    assert await admin.fetchval(query) == first is not None
    assert await read(engine, "0" * 64) is None


async def test_a_message_written_again_refers_to_the_same_body(engine: AsyncEngine, admin: asyncpg.Connection) -> None:
    (reference,) = await store(engine, "b1")
    await expire(admin)
    assert await store(engine, "b1") == [reference]
    assert await admin.fetchval(SECONDS_LEFT, reference) > LIFETIME.total_seconds() - 60


async def test_an_expired_body_is_deleted_once_its_message_is_sent(
    engine: AsyncEngine, admin: asyncpg.Connection
) -> None:
    purger = Purger(engine, [PURGE_EXPIRED_BODIES])
    await store(engine, "b1", "b2")
    assert await purger.purge_due() == 0
    await expire(admin)
    for state in ("waiting", "undeliverable"):
        await set_outbox(admin, state)
        assert await purger.purge_due() == 0, state
    await set_outbox(admin, "sent")
    assert await purger.purge_due() == 2


async def test_the_lifetime_begins_again_while_a_message_is_not_sent(
    engine: AsyncEngine, admin: asyncpg.Connection
) -> None:
    unsent = UnsentBodies(engine, LIFETIME, timedelta(hours=1))
    (reference,) = await store(engine, "b1")
    await expire(admin)
    await unsent.extend()
    assert await admin.fetchval(SECONDS_LEFT, reference) > LIFETIME.total_seconds() - 60
    await set_outbox(admin, "sent")
    await expire(admin)
    await unsent.extend()
    assert await admin.fetchval(SECONDS_LEFT, reference) < 0


async def test_extending_returns_how_many_bodies_there_are_and_shortens_none(
    engine: AsyncEngine, admin: asyncpg.Connection
) -> None:
    (reference,) = await store(engine, "b1")
    async with unit_of_work_factory(engine, SqlUnitOfWork)() as work:
        assert await work.extend_bodies([reference, "0" * 64], timedelta(seconds=1)) == 1
    assert await admin.fetchval(SECONDS_LEFT, reference) > LIFETIME.total_seconds() - 60
    await expire(admin)
    async with unit_of_work_factory(engine, SqlUnitOfWork)() as work:
        await work.extend_bodies([reference], LIFETIME)
    assert await admin.fetchval(SECONDS_LEFT, reference) > LIFETIME.total_seconds() - 60
