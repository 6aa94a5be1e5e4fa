"""Access to the claim store of booking: counts, faults, and time that has passed."""

from collections.abc import Collection
from datetime import timedelta

import asyncpg

from prebook.flows import ROUTE_PLANNED
from prebook.lab.bench.testbed import wait_until
from prebook.messaging.envelope import message_id
from prebook.postgres.claim_store import PURGE_EXPIRED_BODIES
from prebook.postgres.engine import create_engine
from prebook.postgres.purge import Purger

EXTENSION_TIMEOUT_S = 60.0
POLL_INTERVAL_S = 0.2
STALE = timedelta(seconds=1)
# The functions belong to the administrator: the service may neither see nor change what is recorded of it.
RECORD_DELETIONS = """
    CREATE TABLE booking.lab_deleted (id text, message_id text, read_at timestamptz);
    CREATE FUNCTION booking.lab_record() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
        INSERT INTO booking.lab_deleted VALUES (OLD.id, OLD.message_id, OLD.read_at); RETURN OLD; END $$;
    CREATE TRIGGER lab_record AFTER DELETE ON booking.checked_body FOR EACH ROW EXECUTE FUNCTION booking.lab_record()"""
SHORTEN_LIFETIMES = """
    CREATE FUNCTION booking.lab_shorten() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        NEW.expires_at = NEW.stored_at + make_interval(secs => {seconds}); RETURN NEW; END $$;
    CREATE TRIGGER lab_shorten BEFORE INSERT OR UPDATE ON booking.checked_body FOR EACH ROW
        WHEN (NEW.message_id = ANY ('{{{ids}}}')) EXECUTE FUNCTION booking.lab_shorten()"""
REFUSE_ROUTES = """
    CREATE FUNCTION fleets.lab_refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'this route always fails'; END $$;
    CREATE TRIGGER lab_refuse BEFORE INSERT ON fleets.route FOR EACH ROW
        WHEN (NEW.booking_id = ANY ('{{{ids}}}')) EXECUTE FUNCTION fleets.lab_refuse()"""
ACCEPT_ROUTES = "DROP FUNCTION fleets.lab_refuse CASCADE"
AGE = "UPDATE booking.checked_body SET stored_at = stored_at - $1::interval, expires_at = expires_at - $1::interval"
LIFETIME_S = "SELECT extract(epoch FROM max(expires_at - stored_at))::float FROM booking.checked_body"
SECONDS_LEFT = """
    SELECT extract(epoch FROM expires_at - now())::float FROM booking.checked_body WHERE message_id = $1"""
COUNT_ROUTES = "SELECT count(*) FROM fleets.route WHERE booking_id = ANY($1)"
COUNT_CHECKED = """
    SELECT count(*) FROM booking.outbox
    WHERE flow = 'route_planned' AND conversation_id = ANY($1) AND strpos(message, 'ce-dataref') > 0"""
COUNT_BODIES = """
    SELECT count(*) FILTER (WHERE read_at IS NOT NULL) AS read,
        count(*) FILTER (WHERE read_at IS NULL AND NOT deleted) AS waiting,
        count(*) FILTER (WHERE read_at IS NULL AND deleted) AS deleted_unread
    FROM (SELECT message_id, read_at, false AS deleted FROM booking.checked_body
        UNION ALL SELECT message_id, read_at, true FROM booking.lab_deleted) AS bodies
    WHERE message_id = ANY($1)"""
COUNT_KEPT = """
    SELECT count(*) FILTER (WHERE is_referred_to) AS kept, count(*) FILTER (WHERE NOT is_referred_to) AS orphans
    FROM (SELECT EXISTS (
            SELECT FROM operations.dead_letter d WHERE d.message_id = b.message_id AND d.state <> 'resolved')
        OR EXISTS (SELECT FROM booking.outbox o WHERE o.message_id = b.message_id AND o.state = 'waiting')
        AS is_referred_to FROM booking.checked_body b WHERE b.message_id = ANY($1)) AS bodies"""
LIST_PARKED = """
    SELECT id, message_id FROM operations.dead_letter
    WHERE conversation_id = ANY($1) AND flow = 'route_planned' AND state = 'parked' ORDER BY id"""


class ClaimStoreProbe:
    """Reads and changes the tables on an administrator's connection. ``booking_url``: booking's own database URL."""

    def __init__(self, database: asyncpg.Connection, booking_url: str) -> None:
        self.database = database
        self._booking_url = booking_url

    async def record_deletions(self) -> None:
        """Keep a record of each body that is deleted from now on."""
        await self.database.execute(RECORD_DELETIONS)

    async def shorten_lifetimes(self, booking_ids: Collection[str], lifetime: timedelta) -> None:
        """Let the bodies of these bookings expire so long after they were stored, whoever extends them."""
        ids = ",".join(message_ids(booking_ids))
        await self.database.execute(SHORTEN_LIFETIMES.format(seconds=lifetime.total_seconds(), ids=ids))

    async def refuse_routes(self, booking_ids: Collection[str]) -> None:
        """Let fleets fail at the routes of these bookings, until ``accept_routes``."""
        await self.database.execute(REFUSE_ROUTES.format(ids=",".join(booking_ids)))

    async def accept_routes(self) -> None:
        """Repair fleets."""
        await self.database.execute(ACCEPT_ROUTES)

    async def read_lifetime(self) -> timedelta:
        """Return the lifetime that the service gives to a body."""
        return timedelta(seconds=await self.database.fetchval(LIFETIME_S))

    async def age(self, by: timedelta) -> None:
        """Let so much time pass for all stored bodies."""
        await self.database.execute(AGE, by)

    async def wait_for_extension(self, message_id: str, lifetime: timedelta) -> None:
        """Wait until the body of a message has been extended, or deleted. Raises TimeoutError."""

        async def is_extended() -> bool:
            left_s = await self.database.fetchval(SECONDS_LEFT, message_id)
            return left_s is None or left_s > (lifetime / 2).total_seconds()

        await wait_until(is_extended, EXTENSION_TIMEOUT_S, POLL_INTERVAL_S)

    async def collect(self) -> None:
        """Delete what has expired by the rule of booking's retention loop, which runs every 10 s by itself."""
        engine = create_engine(ROUTE_PLANNED.publisher, self._booking_url)
        try:
            await Purger(engine, [PURGE_EXPIRED_BODIES]).purge_due()
        finally:
            await engine.dispose()

    async def delete_body(self, message_id: str) -> None:
        """Delete the body of a message."""
        await self.database.execute("DELETE FROM booking.checked_body WHERE message_id = $1", message_id)

    async def count_routes(self, booking_ids: Collection[str]) -> int:
        """Return how many of the bookings have a route at fleets."""
        return int(await self.database.fetchval(COUNT_ROUTES, booking_ids))

    async def count_bodies(self, booking_ids: Collection[str]) -> dict[str, int]:
        """Return how many messages about these bookings were sent with a claim check, and what became of their bodies.

        The fields are those of ``BodiesSeen``.
        """
        (bodies,) = await self.database.fetch(COUNT_BODIES, message_ids(booking_ids))
        return {"checked": await self.database.fetchval(COUNT_CHECKED, booking_ids), **bodies}

    async def count_kept(self, booking_ids: Collection[str]) -> dict[str, int]:
        """Return how many bodies are stored for dead letters and unsent messages, and how many for nothing."""
        (bodies,) = await self.database.fetch(COUNT_KEPT, message_ids(booking_ids))
        return dict(bodies)

    async def list_parked(self, booking_ids: Collection[str]) -> list[tuple[int, str]]:
        """Return id and message id of the dead letters about routes of these bookings."""
        return [(row["id"], row["message_id"]) for row in await self.database.fetch(LIST_PARKED, booking_ids)]


def message_ids(booking_ids: Collection[str]) -> list[str]:
    """Return the ids of the messages about the first routes of these bookings."""
    return [message_id(booking_id, ROUTE_PLANNED.name, "1") for booking_id in booking_ids]
