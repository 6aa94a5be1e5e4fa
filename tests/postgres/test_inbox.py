"""Several messages admitted by one statement are admitted as each alone would be."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.messaging.envelope import Envelope
from prebook.messaging.unit_of_work import Begin, Expectation
from prebook.postgres.engine import engine_for
from prebook.postgres.work import SqlWork, units_of_work
from tests.databases import Databases, role_url
from tests.messaging.examples import NOW, request

MANY = 8


@pytest.fixture(scope="module")
def url(databases: Databases) -> str:
    return databases.migrated("booking")


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    engine = engine_for("booking", role_url(url, "booking"))
    yield engine
    await engine.dispose()


@pytest.fixture
def begin(engine: AsyncEngine) -> Begin[SqlWork]:
    return units_of_work(engine, SqlWork)


def questions(name: str, count: int = MANY) -> list[Envelope]:
    return [request(f"{name}{number}", id=f"{name}{number}.notify_rider.confirmed") for number in range(count)]


async def admitted(begin: Begin[SqlWork], envelopes: Sequence[Envelope]) -> set[str]:
    async with begin() as work:
        return set(await work.admit_all(envelopes))


async def test_what_is_new_is_told_from_what_is_not(begin: Begin[SqlWork]) -> None:
    told = questions("told")
    assert await admitted(begin, told[:3]) == {each.id for each in told[:3]}
    assert await admitted(begin, told) == {each.id for each in told[3:]}
    assert await admitted(begin, told) == set()


async def test_those_who_admit_the_same_ones_at_once_share_them_out(begin: Begin[SqlWork]) -> None:
    told = questions("raced")
    found = await asyncio.gather(*(admitted(begin, told if turn % 2 else told[::-1]) for turn in range(6)))
    assert sorted(name for names in found for name in names) == [each.id for each in told]


async def test_answers_end_what_was_expected_of_them(begin: Begin[SqlWork], engine: AsyncEngine) -> None:
    asked = questions("asked", 3)
    async with begin() as work:
        await work.expect([Expectation(each, NOW + timedelta(days=1)) for each in asked])
    answers = [each.answered(each.body, source="notification", at=NOW) for each in asked[:2]]
    assert await admitted(begin, answers) == {each.id for each in answers}
    async with engine.connect() as connection:
        left = await connection.execute(text("SELECT request_id FROM awaited"))
        assert [row.request_id for row in left] == [asked[2].id]
