"""Checks of the suite's tables, on a connection of the database's administrator."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from prebook.contracts.ride import SETTLED_STATES
from prebook.flows import PROCESSES, SERVICES
from prebook.messaging.outbox.abandonment import EXPIRED, UNCONFIRMED
from tests.conditions import poll_until

if TYPE_CHECKING:
    import asyncpg

Ids = Collection[str]
SETTLED = [state.value for state in SETTLED_STATES]
UNSETTLED_BOOKINGS = """
    SELECT count(*) FROM booking.booking
    WHERE id = ANY($1) AND (state <> ALL($2) OR notified_at IS NULL)"""
PENDING_MESSAGES = """
    SELECT message_id, route, state, claimed_until, failures, last_error FROM {0}.outbox
    WHERE conversation_id = ANY($1) AND state = 'waiting'
    UNION ALL SELECT request_id, 'pending_reply', '', due_at, poll_count, NULL FROM {0}.pending_reply
    WHERE conversation_id = ANY($1)"""
ABANDONED_ROWS = """
    SELECT '{0}' AS service, seq, conversation_id, message_id, kind, flow, route, state, cause, last_error, failures,
        refusals, claimed_by, created_at, expires_at, abandoned_at
    FROM {0}.outbox WHERE conversation_id = ANY($1) AND state = ANY($2)"""
NOTICES = "SELECT booking_id, notice FROM notification.delivery WHERE booking_id = ANY($1)"
OUTCOMES = """
    SELECT id, change ->> 'state' FROM booking.booking, jsonb_array_elements(history) AS change
    WHERE id = ANY($1) AND change ->> 'state' = ANY($2)"""


class DatabaseProbe:
    """Reads the tables of all services and checks that they agree about bookings."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.connection = connection

    async def wait_until_settled(self, ids: Ids, timeout_s: float = 90.0) -> Mapping[str, str]:
        """Wait until every booking is settled and its rider notified; return the state of each by its id.

        Raises:
            AssertionError: a booking is missing, or not settled within ``timeout_s`` seconds.
        """
        await poll_until(lambda: self._is_count_zero(UNSETTLED_BOOKINGS, list(ids), SETTLED), timeout_s)
        states = await self.read_states(ids)
        assert states.keys() == set(ids), "every accepted booking is stored"
        return states

    async def read_states(self, ids: Ids) -> dict[str, str]:
        """Return the states of the bookings that are stored, by id."""
        rows = await self.connection.fetch("SELECT id, state FROM booking.booking WHERE id = ANY($1)", list(ids))
        return {row["id"]: row["state"] for row in rows}

    async def wait_until_nothing_pending(self, ids: Ids, timeout_s: float = 60.0) -> None:
        """Wait until no outbox holds an unsent message of the bookings and no reply to them is pending.

        Raises:
            AssertionError: a message or reply is still pending after ``timeout_s`` seconds.
        """
        try:
            await poll_until(partial(self._has_nothing_pending, ids), timeout_s)
        except AssertionError as late:
            raise AssertionError(f"{late}; pending: {await self._read_pending(ids)}") from None

    async def verify_bookings(self, ids: Ids, *, allow_expired: bool = False) -> Mapping[str, str]:
        """Check bookings across all services and return the state of each by its id.

        Every booking is settled, every rider is notified once of each outcome, every confirmed booking has one driver
        and no other booking has any, nothing is pending, and no outbox has abandoned a message.

        Args:
            ids: ids of the bookings.
            allow_expired: accept messages that expired in an outbox before anybody tried to send them. Those that may
                have been sent (cause ``unconfirmed``) are accepted anyway: they prove no loss.

        Raises:
            AssertionError: one of these conditions does not hold in time.
        """
        states = await self.wait_until_settled(ids)
        await self.wait_until_nothing_pending(ids)
        notices = [tuple(row) for row in await self.connection.fetch(NOTICES, list(ids))]
        outcomes = [tuple(row) for row in await self.connection.fetch(OUTCOMES, list(ids), SETTLED)]
        assert sorted(notices) == sorted(outcomes), "each rider is notified of each outcome once"
        confirmed = sorted(booking for booking, state in states.items() if state == "confirmed")
        for table in ("matching.assignment", "fleets.reservation"):
            await self._wait_until_rows_match(table, ids, confirmed)
        abandoned = await self.read_abandoned(ids, ["undeliverable", "expired"])
        allowed_causes = {UNCONFIRMED, EXPIRED} if allow_expired else {UNCONFIRMED}
        given_up = [row for row in abandoned if row["cause"] not in allowed_causes]
        assert not given_up, "\n".join(
            f"outbox row given up: {row}, ride {states[row['conversation_id']]}" for row in given_up
        )
        return states

    async def read_abandoned(self, ids: Ids, states: Sequence[str]) -> list[dict[str, Any]]:
        """Return the outbox rows of the bookings that are in one of the terminal ``states`` without being sent."""
        tables = [
            await self.connection.fetch(ABANDONED_ROWS.format(service), list(ids), list(states)) for service in SERVICES
        ]
        return [dict(row) for rows in tables for row in rows]

    async def count_rows(self) -> dict[str, int]:
        """Return the number of rows of every table of every process, by table."""
        tables = await self.connection.fetch(
            "SELECT schemaname || '.' || tablename AS name FROM pg_tables WHERE schemaname = ANY($1)", list(PROCESSES)
        )
        return {t["name"]: await self.fetch_value(f"SELECT count(*) FROM {t['name']}") for t in tables}  # noqa: S608 - names of tables

    async def fetch_value(self, query: str, *arguments: Any) -> Any:
        """Return the first column of the first row of a query."""
        return await self.connection.fetchval(query, *arguments)

    async def _wait_until_rows_match(self, table: str, ids: Ids, expected: Sequence[str]) -> None:
        """Wait until exactly the ``expected`` ones of the bookings ``ids`` have a driver in ``table``, and only one.

        A reservation has several rows of one driver: one for each slot.
        """
        columns = "booking_id, fleet, driver"
        query = f"SELECT DISTINCT {columns} FROM {table} WHERE booking_id = ANY($1) ORDER BY 1"  # noqa: S608 - our own table
        found: list[str] = []

        async def match() -> bool:
            found[:] = [row["booking_id"] for row in await self.connection.fetch(query, list(ids))]
            return found == list(expected)

        try:
            await poll_until(match, 60.0)
        except AssertionError as late:
            missing = set(expected) - set(found)
            unexpected = set(found) - set(expected)
            raise AssertionError(f"{late}; {table}: missing {missing}, unexpected {unexpected}") from None

    async def _read_pending(self, ids: Ids) -> list[tuple[object, ...]]:
        tables = [await self.connection.fetch(PENDING_MESSAGES.format(service), list(ids)) for service in SERVICES]
        return [tuple(row) for rows in tables for row in rows]

    async def _has_nothing_pending(self, ids: Ids) -> bool:
        return not await self._read_pending(ids)

    async def _is_count_zero(self, query: str, *arguments: Any) -> bool:
        return bool(await self.fetch_value(query, *arguments) == 0)


def all_in_state(states: Mapping[str, str], state: str) -> bool:
    """Return whether there is a booking and every booking is in ``state``."""
    return set(states.values()) == {state}
