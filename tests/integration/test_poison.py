"""One poison message of each kind among a thousand, at a real service. Its cost is `prebook lab poison`'s."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from uuid import uuid4

import pytest

from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage
from tests.conditions import poll_until
from tests.integration.broker_probe import BrokerProbe
from tests.integration.database_probe import DatabaseProbe
from tests.integration.metrics import read_message_counter
from tests.integration.suite import POLICIES, Suite
from tests.integration.synthetic_events import booking_ended_event

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
async def refusing(database: DatabaseProbe) -> AsyncIterator[None]:
    """Pricing's handler always fails on one booking, and on no other."""
    await database.connection.execute(REFUSING)
    yield
    await database.connection.execute("DROP FUNCTION pricing.refuse CASCADE")


@pytest.mark.usefixtures("refusing")
async def test_poison_is_parked_after_its_attempts_and_the_others_are_all_handled(
    suite: Suite, database: DatabaseProbe, broker: BrokerProbe
) -> None:
    run = uuid4().hex[:8]
    failed, retried = [await read_message_counter(suite, turn, "pricing") for turn in ("handling_failed", "retried")]
    await _said(broker, run)

    async def all_handled() -> bool:
        return bool(await database.fetch_value(SHARES, f"{run}-%") == MANY)

    await poll_until(all_handled, 30)
    parked = await broker.collect_parked(len(FATES))
    told = {message.headers["prebook-x-cause"]: int(message.headers.get("prebook-attempt", "1")) for message in parked}
    assert told == FATES
    assert {message.routing_key for message in parked} == {QUEUE}
    assert await read_message_counter(suite, "handling_failed", "pricing") - failed == ATTEMPTS, (
        "handled as often as that, and not once more"
    )
    assert await read_message_counter(suite, "retried", "pricing") - retried == ATTEMPTS - 1
    assert await database.fetch_value(SHARES, f"{run}-%") == MANY


async def _said(broker: BrokerProbe, run: str) -> None:
    """The poison in the middle of the others."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def say(wire: WireMessage) -> None:
        async with limit:
            await broker.send(addresses.REDELIVER, QUEUE, wire)

    others = [booking_ended_event(f"{run}-{number}") for number in range(MANY)]
    poison = [_broken(booking_ended_event(f"{run}-{cause}"), *changes) for cause, changes in BROKEN.items()]
    middle = [*poison, booking_ended_event(f"{run}-always-failing")]
    await asyncio.gather(*(say(wire) for wire in (*others[: MANY // 2], *middle, *others[MANY // 2 :])))


def _broken(wire: WireMessage, headers: Mapping[str, str], body: bytes) -> WireMessage:
    return WireMessage({**wire.headers, **headers}, body)
