"""Two versions of every service side by side under load, during a rolling upgrade that begins with the senders.

The former version of a service writes and reads the first versions of all messages. Its replicas are restarted one
after the other, so that both versions share queues, message groups, outboxes and the database.
"""

import os
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import aio_pika
import asyncpg
import pytest
from aio_pika.abc import AbstractChannel, AbstractQueue

from prebook.contracts.events import BookingEnded
from prebook.contracts.pricing import FareQuoted
from prebook.flows import PROCESSES
from prebook.messaging.codec import WireMessage, decode
from prebook.postgres.dsn import asyncpg_dsn
from tests.conditions import poll_until
from tests.conftest import Figure
from tests.integration.broker_probe import ALL_MESSAGES, CapturedMessage, drain
from tests.integration.control_client import ControlClient, open_control
from tests.integration.database_probe import DatabaseProbe
from tests.integration.older_receivers.sitecustomize import OLDER_SERVICES, OLDER_WRITERS
from tests.integration.steady_load import SteadyLoad, steady_load, verify_rides
from tests.integration.suite import Suite, start_suite

pytestmark = [pytest.mark.real, pytest.mark.long, pytest.mark.timeout(420)]
HERE = Path(__file__).parent
REPLICAS = 2
RIDES = 6
"""Rides that both versions share before the upgrade goes on, and after it."""
SENDER = "booking"
RECEIVERS = ("matching", "pricing", "notification", "fleets", "operations")
VERSIONED = ("prebook.find_driver", "prebook.booking_ended")
FARES = "SELECT id, fare_cents, currency FROM booking.booking WHERE id = ANY($1)"
GRANTED = "SELECT count(*) FROM pricing.discount_grant WHERE state = 'granted'"
COUNTED = "SELECT sum(granted) FROM pricing.campaign"
UNRETURNED = "SELECT booking_id FROM pricing.discount_grant WHERE state = 'granted' AND booking_id = ANY($1)"
DEAD_LETTERS = "SELECT count(*) FROM operations.dead_letter"


@pytest.fixture
def suite(tmp_path: Path) -> Iterator[Suite]:
    """A suite of the former version; restarted processes are of the version that the files then name."""
    files = {OLDER_SERVICES: tmp_path / "older-services", OLDER_WRITERS: tmp_path / "older-writers"}
    files[OLDER_SERVICES].write_text(" ".join(PROCESSES))
    files[OLDER_WRITERS].write_text("")
    settings = {
        "PYTHONPATH": str(HERE / "older_receivers"),
        "PREBOOK_REPLICAS": str(REPLICAS),
        "PREBOOK_BACK_PRESSURE": "off",
        **{name: str(file) for name, file in files.items()},
    }
    stack = {name: value for name, value in os.environ.items() if name == "PREBOOK_STACK"}
    with start_suite({**stack, **settings}, tmp_path / "home") as suite:
        yield suite


@pytest.fixture
async def database(suite: Suite) -> AsyncIterator[DatabaseProbe]:
    connection = await asyncpg.connect(asyncpg_dsn(suite.state.database_url))
    try:
        yield DatabaseProbe(connection)
    finally:
        await connection.close()


async def test_an_upgrade_of_senders_first_under_load_loses_no_ride_and_no_money(
    suite: Suite, database: DatabaseProbe, figure: Figure
) -> None:
    async with await aio_pika.connect(suite.state.amqp_url) as connection, open_control(suite) as control:
        tap = await tap_all(await connection.channel())
        async with steady_load(control) as load:
            await book_more(load)
            # The new sender goes on writing what all receivers know, until they are upgraded.
            list_in(suite, OLDER_WRITERS, [SENDER])
            await upgrade(suite, control, [SENDER], load)
            await upgrade(suite, control, RECEIVERS, load)
            list_in(suite, OLDER_WRITERS, [])
            for number in range(1, REPLICAS + 1):
                await control.restart_wave(number, [SENDER])
            await book_more(load)
        await verify_rides(load, database)
        messages = await drain(tap)
    assert await database.fetch_value(DEAD_LETTERS) == 0
    await verify_money(load, database, messages)
    types = {each.headers["ce-type"] for each in messages}
    written = {each for each in types if each.startswith(VERSIONED)}
    assert written == {f"{each}.v{version}" for each in VERSIONED for version in (1, 3)}
    figure(f"upgrade, senders first: {len(load.all_ids)} rides, {sorted(written)}")


async def verify_money(load: SteadyLoad, database: DatabaseProbe, messages: Sequence[CapturedMessage]) -> None:
    """Check fares against the quotes on the wire, fees of all versions, and the campaign's discounts."""
    rows = {
        row["id"]: (row["fare_cents"], row["currency"]) for row in await database.connection.fetch(FARES, load.all_ids)
    }
    bodies = [(each.conversation_id, decode(WireMessage(each.headers, each.body)).body) for each in messages]
    quoted = {
        booking_id: (body.fare.cents, body.fare.currency) for booking_id, body in bodies if isinstance(body, FareQuoted)
    }
    assert quoted
    assert {booking_id: rows[booking_id] for booking_id in quoted} == quoted
    fees = {
        body.booking_id: (body.fee.cents, body.fee.currency) for _, body in bodies if isinstance(body, BookingEnded)
    }
    assert fees.keys() >= load.cancelled
    assert set(fees.values()) == {(0, "EUR")}
    assert await database.connection.fetch(UNRETURNED, list(load.cancelled)) == [], "its discount is another rider's"
    assert await database.fetch_value(COUNTED) == await database.fetch_value(GRANTED)


async def tap_all(channel: AbstractChannel) -> AbstractQueue:
    """Return a queue that gets a copy of every message. Source: EIP, Wire Tap."""
    queue = await channel.declare_queue(exclusive=True)
    for exchange, routing_key in ALL_MESSAGES:
        await queue.bind(exchange, routing_key)
    return queue


async def upgrade(suite: Suite, control: ControlClient, services: Sequence[str], load: SteadyLoad) -> None:
    """Restart the replicas of services in the new version; both versions run side by side for some rides."""
    older = set((suite.home.parent / "older-services").read_text().split())
    list_in(suite, OLDER_SERVICES, sorted(older - set(services)))
    for number in range(1, REPLICAS + 1):
        await control.restart_wave(number, services)
        await book_more(load)


async def book_more(load: SteadyLoad) -> None:
    """Wait until some more rides are accepted."""
    rides = len(load.all_ids) + RIDES

    async def are_accepted() -> bool:
        return len(load.all_ids) >= rides

    await poll_until(are_accepted, 120.0)


def list_in(suite: Suite, variable: str, services: Sequence[str]) -> None:
    """Write the services into the file that an environment variable names."""
    name = {OLDER_SERVICES: "older-services", OLDER_WRITERS: "older-writers"}[variable]
    (suite.home.parent / name).write_text(" ".join(services))
