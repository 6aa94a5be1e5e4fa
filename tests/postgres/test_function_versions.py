"""Two versions of a database function side by side, as they are while pods of both releases run."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.postgres.conftest import SERVICE

CLAIM = "SELECT * FROM claim_outbox('old', 10, interval '1 minute', '{}', '{}')"
CLAIM_OF_NEXT_RELEASE = "SELECT * FROM claim_outbox('new', 10, interval '1 minute', '{}', '{}', 'a')"
NEXT_RELEASE = """
    CREATE FUNCTION claim_outbox(
        owner text, max_rows integer, lease interval, full_routes text[], tracked bigint[], zone text{default})
    RETURNS TABLE (seq bigint, route text, message text, failures integer, ordering_key text, refusals integer)
    LANGUAGE plpgsql AS $$
    BEGIN
        RETURN QUERY SELECT * FROM claim_outbox(owner, max_rows, lease, full_routes, tracked);
    END $$"""
DROP = "DROP FUNCTION claim_outbox(text, integer, interval, text[], bigint[], text)"
ROW = """
    INSERT INTO outbox (message_id, kind, flow, conversation_id, route, message, not_before, ordering_key)
    VALUES ($1, 'request', 'f', $1, 'broker', '{}', now(), $1)"""


@pytest.fixture
async def schema(admin: asyncpg.Connection) -> AsyncIterator[asyncpg.Connection]:
    """A connection in the schema of the service, which has the function of the next release only during a test."""
    await admin.execute(f"SET search_path = {SERVICE}")
    yield admin
    await admin.execute(DROP)


async def test_a_function_with_a_further_argument_stands_beside_the_former_one(schema: asyncpg.Connection) -> None:
    await schema.execute(NEXT_RELEASE.format(default=""))
    await schema.execute(ROW, "m1")
    assert len(await schema.fetch(CLAIM)) == 1, "pods of the former release go on claiming"
    await schema.execute(ROW, "m2")
    assert len(await schema.fetch(CLAIM_OF_NEXT_RELEASE)) == 1, "the other row is leased to the former release"
    assert await schema.fetch(CLAIM) == await schema.fetch(CLAIM_OF_NEXT_RELEASE) == []


async def test_a_default_of_the_further_argument_breaks_the_former_release(schema: asyncpg.Connection) -> None:
    """Both functions would fit a call with the former arguments. The new argument must not have a default."""
    await schema.execute(NEXT_RELEASE.format(default=" DEFAULT ''"))
    with pytest.raises(asyncpg.AmbiguousFunctionError):
        await schema.fetch(CLAIM)
