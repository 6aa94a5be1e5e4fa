"""Messages recorded by one statement and handled in one transaction have the results of separate transactions."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.messaging.envelope import Envelope
from prebook.messaging.transaction_batcher import TransactionBatcher
from prebook.messaging.unit_of_work import BeginUnitOfWork, OutboxMessage, PendingReply
from prebook.postgres.engine import create_engine
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from prebook.testing.configuration import make_policies
from tests.databases import Databases, role_url
from tests.messaging.examples import NOW, request

BATCH = 8


@pytest.fixture(scope="module")
def url(databases: Databases) -> str:
    return databases.create_migrated("booking")


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine("booking", role_url(url, "booking"))
    yield engine
    await engine.dispose()


@pytest.fixture
def begin(engine: AsyncEngine) -> BeginUnitOfWork[SqlUnitOfWork]:
    return unit_of_work_factory(engine, SqlUnitOfWork)


def make_requests(name: str, count: int = BATCH) -> list[Envelope]:
    return [request(f"{name}{number}", id=f"{name}{number}.notify_rider.confirmed") for number in range(count)]


async def record(begin: BeginUnitOfWork[SqlUnitOfWork], envelopes: Sequence[Envelope]) -> set[str]:
    async with begin() as work:
        return set(await work.record_messages(envelopes))


async def test_only_new_messages_are_recorded(begin: BeginUnitOfWork[SqlUnitOfWork]) -> None:
    messages = make_requests("messages")
    assert await record(begin, messages[:3]) == {each.id for each in messages[:3]}
    assert await record(begin, messages) == {each.id for each in messages[3:]}
    assert await record(begin, messages) == set()


async def test_concurrent_transactions_record_each_message_once(begin: BeginUnitOfWork[SqlUnitOfWork]) -> None:
    messages = make_requests("raced")
    found = await asyncio.gather(*(record(begin, messages if turn % 2 else messages[::-1]) for turn in range(6)))
    assert sorted(name for names in found for name in names) == [each.id for each in messages]


async def test_replies_remove_their_pending_replies(begin: BeginUnitOfWork[SqlUnitOfWork], engine: AsyncEngine) -> None:
    requests = make_requests("requests", 3)
    async with begin() as work:
        await work.await_replies([PendingReply(each, NOW + timedelta(days=1)) for each in requests])
    replies = [each.reply_with(each.body, source="notification", at=NOW) for each in requests[:2]]
    assert await record(begin, replies) == {each.id for each in replies}
    async with engine.connect() as connection:
        remaining = await connection.execute(text("SELECT request_id FROM pending_reply"))
        assert [row.request_id for row in remaining] == [requests[2].id]


DIVIDE = text("SELECT 1 / CAST(:divisor AS int)")


async def effect(envelope: Envelope, work: SqlUnitOfWork, new: bool) -> bool:
    """Enqueue a message for a new one. For `find_driver`, a statement fails and aborts the transaction."""
    if new:
        message = request(envelope.conversation_id, id=f"effect-of-{envelope.id}")
        await work.enqueue([OutboxMessage(message, "broker", envelope.conversation_id)])
    if envelope.flow == "find_driver":
        await work.connection.execute(DIVIDE, {"divisor": 0})
    return new


async def handle_all(
    transactions: TransactionBatcher[SqlUnitOfWork], messages: Sequence[Envelope]
) -> list[bool | BaseException]:
    runs = [transactions.run(envelope, partial(effect, envelope)) for envelope in messages]
    results: list[bool | BaseException] = await asyncio.gather(*runs, return_exceptions=True)
    return results


async def read_effects(engine: AsyncEngine, name: str) -> list[str]:
    async with engine.connect() as connection:
        rows = await connection.execute(
            text("SELECT message_id FROM outbox WHERE conversation_id LIKE :like ORDER BY message_id"),
            {"like": f"{name}%"},
        )
        return [row.message_id for row in rows]


async def test_a_failed_statement_fails_only_its_own_message_after_a_retry(
    begin: BeginUnitOfWork[SqlUnitOfWork], engine: AsyncEngine
) -> None:
    messages = make_requests("shared")
    messages[4] = request("shared4", id=messages[4].id, flow="find_driver")
    results = await handle_all(TransactionBatcher(begin, make_policies(), max_concurrent=1), messages)
    assert [result is True for result in results] == [number != 4 for number in range(BATCH)]
    assert isinstance(results[4], Exception)
    assert await read_effects(engine, "shared") == [
        f"effect-of-{each.id}" for each in messages if each is not messages[4]
    ]
    assert await record(begin, messages) == {messages[4].id}, "the failed message has left no effect"


async def test_replicas_with_the_same_messages_have_each_effect_once(
    begin: BeginUnitOfWork[SqlUnitOfWork], engine: AsyncEngine
) -> None:
    messages = make_requests("twice", 3 * BATCH)
    replicas = [TransactionBatcher(begin, make_policies()) for _ in range(3)]
    found = await asyncio.gather(
        *(handle_all(replica, messages[:: 1 - 2 * (n % 2)]) for n, replica in enumerate(replicas))
    )
    assert sum(result is True for results in found for result in results) == len(messages)
    assert not [result for results in found for result in results if isinstance(result, BaseException)]
    assert await read_effects(engine, "twice") == sorted(f"effect-of-{each.id}" for each in messages)
