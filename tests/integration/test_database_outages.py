"""A database that answers but cannot write is an outage: nothing is charged to riders' requests or messages."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager

import asyncpg
import httpx
import pytest

from prebook.contracts.plan import Coupling
from prebook.flows import PROCESSES, SERVICES
from prebook.postgres.dsn import asyncpg_dsn
from tests.conditions import poll_until
from tests.integration.broker_probe import BrokerProbe
from tests.integration.database_probe import DatabaseProbe
from tests.integration.metrics import read_message_counter
from tests.integration.ride_offers import offer_rides
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite

pytestmark = [pytest.mark.real, pytest.mark.long, pytest.mark.timeout(300)]
SYNCHRONOUS_PLANS = [uniform_plan(Coupling.SYNC_API)]
ASYNCHRONOUS_PLANS = [uniform_plan(coupling) for coupling in Coupling if coupling is not Coupling.SYNC_API]
OUTAGE_S = 20.0
"""Longer than all attempts of any message would take."""
READY_TIMEOUT_S = 60.0
Outage = Callable[[DatabaseProbe], Awaitable[None]]


async def _set_read_only(database: DatabaseProbe) -> None:
    await database.connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    await database.connection.execute("SELECT pg_reload_conf()")


async def _set_writable(database: DatabaseProbe) -> None:
    await database.connection.execute("SET default_transaction_read_only = off")
    await database.connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
    await database.connection.execute("SELECT pg_reload_conf()")


async def _fill_disk(database: DatabaseProbe) -> None:
    """Let every write to an inbox or outbox fail as on a full disk."""
    await database.connection.execute("""
        CREATE FUNCTION public.disk_full() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$""")
    for service in PROCESSES:
        for table in ("inbox", "outbox"):
            await database.connection.execute(
                f"CREATE TRIGGER disk_full BEFORE INSERT OR UPDATE ON {service}.{table}"
                " FOR EACH ROW EXECUTE FUNCTION public.disk_full()"
            )


async def _free_disk(database: DatabaseProbe) -> None:
    await database.connection.execute("DROP FUNCTION public.disk_full CASCADE")


async def _lock_tables(database: DatabaseProbe) -> None:
    """Lock the inbox and outbox of every process, as a migration does that waits for something itself."""
    tables = ", ".join(f"{service}.{table}" for service in PROCESSES for table in ("inbox", "outbox"))
    await database.connection.execute(f"BEGIN; LOCK TABLE {tables}")


async def _unlock_tables(database: DatabaseProbe) -> None:
    await database.connection.execute("ROLLBACK")


OUTAGES: Mapping[str, tuple[Outage, Outage, str, Collection[str]]] = {
    "read_only": (_set_read_only, _set_writable, "the database is read-only and accepts no writes", PROCESSES),
    "disk_full": (_fill_disk, _free_disk, "the disk of the database is full", ["booking"]),
    "locked": (
        _lock_tables,
        _unlock_tables,
        "the database does not answer within 2 s: it is overloaded, locked or gone",
        PROCESSES,
    ),
}
"""Begin and end of each outage, its reason on /readyz, and the processes that report it: only those that write see a
full disk."""


@pytest.mark.parametrize("name", OUTAGES)
async def test_a_database_that_cannot_write_is_an_outage(
    name: str, suite: Suite, rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe
) -> None:
    begin, end, reason, reporting = OUTAGES[name]
    charged_before = await _read_charged(suite)
    async with (
        _second_connection(suite) as other,
        offer_rides(rider, ASYNCHRONOUS_PLANS) as offers,
        offer_rides(rider, SYNCHRONOUS_PLANS) as synchronous,
    ):
        await poll_until(lambda: _has_accepted(offers.ids))
        await begin(other)
        try:
            await _wait_until_reported(suite, dict.fromkeys(reporting, reason))
            await asyncio.sleep(OUTAGE_S)  # duration of the outage
            still_reported = await _read_reasons(suite, reporting)
        finally:
            await end(other)
        await _wait_until_reported(suite, dict.fromkeys(PROCESSES, ""))
    assert still_reported == dict.fromkeys(reporting, reason)
    assert offers.refusals, "riders are refused during the outage"
    for refusal in offers.refusals + synchronous.refusals:
        assert refusal.status_code == 503, refusal.text
        assert refusal.headers["content-type"] == "application/problem+json"
        assert int(refusal.headers["retry-after"]) >= 1
    await database.verify_bookings(offers.ids, allow_expired=True)
    # A fleet's reservation whose reply was lost with a synchronous call ends by its own time limit, of two minutes.
    await database.wait_until_settled(synchronous.ids)
    assert await _read_charged(suite) == charged_before, "no message was retried or dead-lettered"


@asynccontextmanager
async def _second_connection(suite: Suite) -> AsyncIterator[DatabaseProbe]:
    connection = await asyncpg.connect(asyncpg_dsn(suite.state.database_url))
    try:
        yield DatabaseProbe(connection)
    finally:
        await connection.close()


async def _has_accepted(ids: list[str]) -> bool:
    return len(ids) > 10


async def _read_charged(suite: Suite) -> list[float]:
    """Return how many messages each service has retried or dead-lettered."""
    return [
        await read_message_counter(suite, name, service)
        for service in SERVICES
        for name in ("retried", "dead_lettered")
    ]


async def _wait_until_reported(suite: Suite, expected: Mapping[str, str]) -> None:
    """Wait until /readyz of each process names the database with the expected reason; "" if the process is ready."""
    reported: dict[str, str] = {}

    async def is_expected() -> bool:
        reported.update(await _read_reasons(suite, expected))
        return reported == expected

    try:
        await poll_until(is_expected, READY_TIMEOUT_S)
    except AssertionError as late:
        raise AssertionError(f"{late}; reported: {reported}") from None


async def _read_reasons(suite: Suite, processes: Collection[str]) -> dict[str, str]:
    """Return what each process says of its database on /readyz; "" if it is ready."""
    async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
        responses = await asyncio.gather(*(http.get(f"{suite.state.urls[name]}/readyz") for name in processes))
    reports = [(response.status_code, response.json()["missing"]) for response in responses]
    return {
        name: "" if (status, missing) == (200, {}) else missing.get("database", str(missing))
        for name, (status, missing) in zip(processes, reports, strict=True)
    }
