"""One poison message of each kind among a thousand, at a real service. Its cost is `prebook lab poison`'s."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from uuid import uuid4

import pytest

from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage
from tests.conditions import eventually
from tests.integration.books import Books
from tests.integration.broker import Broker
from tests.integration.made_up import ended
from tests.integration.measures import counted
from tests.integration.suite import POLICIES, Suite

pytestmark = pytest.mark.real
MANY, AT_ONCE = 1000, 100
QUEUE = addresses.event_queue("pricing")
ATTEMPTS = next(iter(POLICIES.values())).max_attempts
"""A fact belongs to no flow and is tried as often as the first of them."""
REFUSING = """
    CREATE FUNCTION pricing.refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'never that one'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON pricing.discount_grant FOR EACH ROW
        WHEN (NEW.booking_id LIKE '%-always-failing')
        EXECUTE FUNCTION pricing.refuse()"""
BROKEN: Mapping[str, tuple[Mapping[str, str], bytes]] = {
    "bad_json": ({}, b'{"booking_id": '),
    "wrong_schema": ({}, b'{"booking_id": 7}'),
    "unknown_type": ({"ce-type": "prebook.booking_ended.v9"}, b"{}"),
}
FATES = {**dict.fromkeys(BROKEN, 1), "attempts_exhausted": ATTEMPTS}
"""Cause -> attempts: at once where it can never succeed, after exactly as many as configured where it might have."""
SHARES = "SELECT count(*) FROM pricing.discount_grant WHERE booking_id LIKE $1"


@pytest.fixture
async def refusing(books: Books) -> AsyncIterator[None]:
    """Pricing's handler always fails on one booking, and on no other."""
    await books.connection.execute(REFUSING)
    yield
    await books.connection.execute("DROP FUNCTION pricing.refuse CASCADE")


@pytest.mark.usefixtures("refusing")
async def test_poison_is_parked_after_its_attempts_and_the_others_are_all_handled(
    suite: Suite, books: Books, broker: Broker
) -> None:
    run = uuid4().hex[:8]
    failed, retried = [await counted(suite, turn, "pricing") for turn in ("handling_failed", "retried")]
    await _said(broker, run)

    async def all_handled() -> bool:
        return bool(await books.value(SHARES, f"{run}-%") == MANY)

    await eventually(all_handled, 30)
    parked = await broker.parked(len(FATES))
    told = {message.headers["prebook-x-cause"]: int(message.headers.get("prebook-attempt", "1")) for message in parked}
    assert told == FATES
    assert {message.key for message in parked} == {QUEUE}
    assert await counted(suite, "handling_failed", "pricing") - failed == ATTEMPTS, (
        "handled as often as that, and not once more"
    )
    assert await counted(suite, "retried", "pricing") - retried == ATTEMPTS - 1
    assert await books.value(SHARES, f"{run}-%") == MANY


async def _said(broker: Broker, run: str) -> None:
    """The poison in the middle of the others."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def say(wire: WireMessage) -> None:
        async with limit:
            await broker.send(addresses.REDELIVER, QUEUE, wire)

    others = [ended(f"{run}-{number}") for number in range(MANY)]
    poison = [_broken(ended(f"{run}-{cause}"), *changes) for cause, changes in BROKEN.items()]
    middle = [*poison, ended(f"{run}-always-failing")]
    await asyncio.gather(*(say(wire) for wire in (*others[: MANY // 2], *middle, *others[MANY // 2 :])))


def _broken(wire: WireMessage, headers: Mapping[str, str], body: bytes) -> WireMessage:
    return WireMessage({**wire.headers, **headers}, body)
