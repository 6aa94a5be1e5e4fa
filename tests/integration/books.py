"""What the tables say, read by the database's administrator."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from prebook.contracts.ride import SETTLED_STATES
from prebook.flows import PROCESSES, SERVICES
from tests.conditions import eventually

if TYPE_CHECKING:
    import asyncpg

Ids = Collection[str]
OVER = [state.value for state in SETTLED_STATES]
UNSETTLED = """
    SELECT count(*) FROM booking.booking
    WHERE id = ANY($1) AND (state <> ALL($2) OR notified_at IS NULL)"""
OPEN = """
    SELECT message_id, route, state, claimed_until, failures, last_error FROM {0}.outbox
    WHERE conversation_id = ANY($1) AND state = 'waiting'
    UNION ALL SELECT request_id, 'pending_reply', '', due_at, poll_count, NULL FROM {0}.pending_reply
    WHERE conversation_id = ANY($1)"""
LEFT = "SELECT message_id, state, last_error FROM {}.outbox WHERE conversation_id = ANY($1) AND state = ANY($2)"
TOLD = "SELECT booking_id, notice FROM notification.delivery WHERE booking_id = ANY($1)"
OUTCOMES = """
    SELECT id, change ->> 'state' FROM booking.booking, jsonb_array_elements(history) AS change
    WHERE id = ANY($1) AND change ->> 'state' = ANY($2)"""


class Books:
    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.connection = connection

    async def settled(self, ids: Ids, within_s: float = 30.0) -> Mapping[str, str]:
        """Id -> state, once every one of them has an outcome and its rider knows."""
        await eventually(lambda: self._none(UNSETTLED, list(ids), OVER), within_s)
        states = await self.states(ids)
        assert states.keys() == set(ids), "every booking that was accepted is in booking's tables"
        return states

    async def states(self, ids: Ids) -> dict[str, str]:
        found = await self.connection.fetch("SELECT id, state FROM booking.booking WHERE id = ANY($1)", list(ids))
        return {row["id"]: row["state"] for row in found}

    async def closed(self, ids: Ids, within_s: float = 20.0) -> None:
        """Nothing about them waits in any outbox, and nobody waits for an answer."""
        try:
            await eventually(partial(self._none_open, ids), within_s)
        except AssertionError as late:
            raise AssertionError(f"{late}: {await self._open(ids)}") from None

    async def add_up(self, ids: Ids, *, late: bool = False) -> Mapping[str, str]:
        """Every rider was told the outcome once; whoever is confirmed has the one driver, and nobody else has any.

        ``late``: some messages may have expired in outboxes, since nobody waited for them any more.
        """
        states = await self.settled(ids)
        await self.closed(ids)
        told = [tuple(row) for row in await self.connection.fetch(TOLD, list(ids))]
        outcomes = [tuple(row) for row in await self.connection.fetch(OUTCOMES, list(ids), OVER)]
        assert sorted(told) == sorted(outcomes), "each outcome is told once"
        confirmed = sorted(booking for booking, state in states.items() if state == "confirmed")
        for table in ("matching.assignment", "fleets.reservation"):
            await self._become(table, ids, confirmed)
        assert await self.given_up(ids, ["undeliverable"] if late else ["undeliverable", "expired"]) == []
        return states

    async def given_up(self, ids: Ids, states: Sequence[str]) -> list[tuple[str, ...]]:
        """Outbox rows about these bookings that will never be sent."""
        rows = [await self.connection.fetch(LEFT.format(service), list(ids), list(states)) for service in SERVICES]
        return [tuple(row) for found in rows for row in found]

    async def counts(self) -> dict[str, int]:
        """Table -> rows, of every table of every process."""
        tables = await self.connection.fetch(
            "SELECT schemaname || '.' || tablename AS name FROM pg_tables WHERE schemaname = ANY($1)", list(PROCESSES)
        )
        return {t["name"]: await self.value(f"SELECT count(*) FROM {t['name']}") for t in tables}  # noqa: S608 - names of tables

    async def value(self, query: str, *arguments: Any) -> Any:
        return await self.connection.fetchval(query, *arguments)

    async def _become(self, table: str, ids: Ids, expected: Sequence[str]) -> None:
        """Who has a row in it, and who is to have one, become the same."""
        query = f"SELECT booking_id FROM {table} WHERE booking_id = ANY($1) ORDER BY 1"  # noqa: S608 - a name of ours
        found: list[str] = []

        async def are() -> bool:
            found[:] = [row["booking_id"] for row in await self.connection.fetch(query, list(ids))]
            return found == list(expected)

        try:
            await eventually(are, 10.0)
        except AssertionError as late:
            missing, over = set(expected) - set(found), set(found) - set(expected)
            raise AssertionError(f"{late}: in {table} are missing {missing}, too many {over}") from None

    async def _open(self, ids: Ids) -> list[tuple[object, ...]]:
        rows = [await self.connection.fetch(OPEN.format(service), list(ids)) for service in SERVICES]
        return [tuple(row) for found in rows for row in found]

    async def _none_open(self, ids: Ids) -> bool:
        return not await self._open(ids)

    async def _none(self, query: str, *arguments: Any) -> bool:
        return bool(await self.value(query, *arguments) == 0)


def every(states: Mapping[str, str], state: str) -> bool:
    return set(states.values()) == {state}
