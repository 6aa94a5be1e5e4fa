"""Several messages admitted by one statement, and handled in one transaction, are as each alone would be."""

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

MANY = 8


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


def questions(name: str, count: int = MANY) -> list[Envelope]:
    return [request(f"{name}{number}", id=f"{name}{number}.notify_rider.confirmed") for number in range(count)]


async def admitted(begin: BeginUnitOfWork[SqlUnitOfWork], envelopes: Sequence[Envelope]) -> set[str]:
    async with begin() as work:
        return set(await work.record_messages(envelopes))


async def test_what_is_new_is_told_from_what_is_not(begin: BeginUnitOfWork[SqlUnitOfWork]) -> None:
    told = questions("told")
    assert await admitted(begin, told[:3]) == {each.id for each in told[:3]}
    assert await admitted(begin, told) == {each.id for each in told[3:]}
    assert await admitted(begin, told) == set()


async def test_those_who_admit_the_same_ones_at_once_share_them_out(begin: BeginUnitOfWork[SqlUnitOfWork]) -> None:
    told = questions("raced")
    found = await asyncio.gather(*(admitted(begin, told if turn % 2 else told[::-1]) for turn in range(6)))
    assert sorted(name for names in found for name in names) == [each.id for each in told]


async def test_answers_end_what_was_expected_of_them(
    begin: BeginUnitOfWork[SqlUnitOfWork], engine: AsyncEngine
) -> None:
    asked = questions("asked", 3)
    async with begin() as work:
        await work.await_replies([PendingReply(each, NOW + timedelta(days=1)) for each in asked])
    answers = [each.reply_with(each.body, source="notification", at=NOW) for each in asked[:2]]
    assert await admitted(begin, answers) == {each.id for each in answers}
    async with engine.connect() as connection:
        left = await connection.execute(text("SELECT request_id FROM pending_reply"))
        assert [row.request_id for row in left] == [asked[2].id]


FAILS = text("SELECT 1 / CAST(:nothing AS int)")


async def effect(envelope: Envelope, work: SqlUnitOfWork, new: bool) -> bool:
    """Posts a message of its own. Of a poisonous one the database refuses a statement, which spoils the transaction."""
    if new:
        posted = request(envelope.conversation_id, id=f"effect-of-{envelope.id}")
        await work.enqueue([OutboxMessage(posted, "broker", envelope.conversation_id)])
    if envelope.flow == "find_driver":
        await work.connection.execute(FAILS, {"nothing": 0})
    return new


async def handled(
    transactions: TransactionBatcher[SqlUnitOfWork], told: Sequence[Envelope]
) -> list[bool | BaseException]:
    runs = [transactions.run(envelope, partial(effect, envelope)) for envelope in told]
    ends: list[bool | BaseException] = await asyncio.gather(*runs, return_exceptions=True)
    return ends


async def effects(engine: AsyncEngine, name: str) -> list[str]:
    async with engine.connect() as connection:
        rows = await connection.execute(
            text("SELECT message_id FROM outbox WHERE conversation_id LIKE :like ORDER BY message_id"),
            {"like": f"{name}%"},
        )
        return [row.message_id for row in rows]


async def test_a_statement_that_fails_undoes_all_and_then_only_its_own(
    begin: BeginUnitOfWork[SqlUnitOfWork], engine: AsyncEngine
) -> None:
    told = questions("shared")
    told[4] = request("shared4", id=told[4].id, flow="find_driver")
    ends = await handled(TransactionBatcher(begin, make_policies(), max_concurrent=1), told)
    assert [end is True for end in ends] == [number != 4 for number in range(MANY)]
    assert isinstance(ends[4], Exception)
    assert await effects(engine, "shared") == [f"effect-of-{each.id}" for each in told if each is not told[4]]
    assert await admitted(begin, told) == {told[4].id}, "the poisonous one has left nothing behind"


async def test_replicas_that_are_told_the_same_have_each_effect_once(
    begin: BeginUnitOfWork[SqlUnitOfWork], engine: AsyncEngine
) -> None:
    told = questions("twice", 3 * MANY)
    replicas = [TransactionBatcher(begin, make_policies()) for _ in range(3)]
    found = await asyncio.gather(*(handled(one, told[:: 1 - 2 * (n % 2)]) for n, one in enumerate(replicas)))
    assert sum(end is True for ends in found for end in ends) == len(told)
    assert not [end for ends in found for end in ends if isinstance(end, BaseException)]
    assert await effects(engine, "twice") == sorted(f"effect-of-{each.id}" for each in told)
