"""Bookings, idempotency records, campaign tokens and trips on PostgreSQL."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec
from sqlalchemy import and_, bindparam, func, or_, select, text, tuple_, update

from prebook.booking.domain.booking import Booking, RiderKey
from prebook.booking.sql.conversations import FIND_CONVERSATIONS, summaries_of
from prebook.booking.sql.ledger_figures import (
    READ_CLOCKS,
    READ_LEDGER_TOTALS,
    clock_parameters,
    clocks_of,
    totals_of,
)
from prebook.booking.sql.load_signals import MIN_RATE_WINDOW_S, RATE_WINDOW_S, READ_LOAD_SIGNALS, load_signals_of
from prebook.booking.sql.rows import (
    MUTABLE_COLUMNS,
    booking_of,
    history_json,
    immutable_values,
    mutable_values,
    to_json,
)
from prebook.booking.sql.tables import BOOKING, IDEMPOTENCY_RECORD
from prebook.booking.sql.trips import TripSql
from prebook.booking.store import (
    DuplicateKey,
    IdempotencyRecord,
    LedgerPosition,
    LoadSignals,
    LockedBooking,
    PlanClock,
    PlannedRoute,
    StaleDecision,
    StoredResponse,
    SwitchPosition,
    WaitingPage,
)
from prebook.contracts.booking import LedgerTotal
from prebook.contracts.conversations import ConversationSummary
from prebook.contracts.ride import BookingState
from prebook.contracts.route import RouteGeometry
from prebook.coupling.ports import BROKER_ROUTE
from prebook.postgres.flush import GuardInsert

# Concurrent transactions serialise on the row: the second one increments the count that the first has committed.
TAKE_TOKEN = text("""
    INSERT INTO token_window (campaign, started_at, tokens_taken)
    VALUES (:campaign, to_timestamp(floor(extract(epoch FROM now()) / :window_s) * :window_s), 1)
    ON CONFLICT (campaign, started_at) DO UPDATE SET tokens_taken = token_window.tokens_taken + 1
        WHERE token_window.tokens_taken < :max_tokens
    RETURNING tokens_taken""")
WINDOW_LEFT_S = text("""
    SELECT :window_s - (extract(epoch FROM clock_timestamp())
        - floor(extract(epoch FROM now()) / :window_s) * :window_s)""")


SAVE_ROUTE = text("""
    INSERT INTO route (booking_id, revision, geometry) VALUES (:booking_id, 1, :geometry)
    ON CONFLICT (booking_id) DO UPDATE
        SET revision = route.revision + 1, geometry = excluded.geometry, planned_at = now()
        WHERE route.geometry <> excluded.geometry
    RETURNING revision""")
READ_SWITCHES = text("SELECT name, value, changed_at FROM switch")
# A switch that is set to its present value keeps the time of its change.
SET_SWITCH = text("""
    INSERT INTO switch (name, value) VALUES (:name, :value)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_at = now()
        WHERE switch.value <> excluded.value""")
RESET_SWITCH = text("DELETE FROM switch WHERE name = :name")
FIND_ROUTE = text("SELECT revision, geometry FROM route WHERE booking_id = :booking_id")

# The booking's unique key decides between two requests, and only the winner writes the idempotency record. A second
# request waits here until the transaction of the first one ends.
CREATE = """
    inserted AS (
        INSERT INTO booking (id, key, rider_id, pickup_lat, pickup_lon, dropoff_lat, dropoff_lon, pickup_at,
            vehicle_class, passengers, callback_url, plan, state, history)
        VALUES (:booking_id, :key, :rider_id, :pickup_lat, :pickup_lon, :dropoff_lat, :dropoff_lon, :pickup_at,
            :vehicle_class, :passengers, :callback_url, :plan, :state, :history)
        ON CONFLICT (key, rider_id) DO NOTHING RETURNING key, rider_id, id),
    guard AS (
        INSERT INTO idempotency_record (key, rider_id, booking_id, fingerprint, created_at, status, body)
        SELECT key, rider_id, id, CAST(:fingerprint AS bytea), CAST(:created_at AS timestamptz), CAST(:status AS int),
            CAST(:body AS bytea)
        FROM inserted RETURNING 1)"""
OF_RIDER_KEY = and_(
    IDEMPOTENCY_RECORD.c.key == bindparam("of_key"), IDEMPOTENCY_RECORD.c.rider_id == bindparam("of_rider")
)
FIND_IDEMPOTENCY_RECORD = select(IDEMPOTENCY_RECORD).where(OF_RIDER_KEY)
# The first response is kept: later requests get the stored one.
STORE_RESPONSE = (
    update(IDEMPOTENCY_RECORD)
    .where(OF_RIDER_KEY)
    .values(
        status=func.coalesce(
            IDEMPOTENCY_RECORD.c.status, bindparam("new_status", type_=IDEMPOTENCY_RECORD.c.status.type)
        ),
        body=func.coalesce(IDEMPOTENCY_RECORD.c.body, bindparam("new_body", type_=IDEMPOTENCY_RECORD.c.body.type)),
    )
    .returning(IDEMPOTENCY_RECORD.c.booking_id, IDEMPOTENCY_RECORD.c.status, IDEMPOTENCY_RECORD.c.body)
)
FIND = select(BOOKING).where(BOOKING.c.id == bindparam("of"))
LOCK = select(BOOKING, func.clock_timestamp().label("db_now")).where(BOOKING.c.id == bindparam("of")).with_for_update()
# Second guard after the decision: no booking is confirmed after its quote expired, however long the writer waited.
SAVE = (
    update(BOOKING)
    .values({name: bindparam(f"new_{name}", type_=BOOKING.c[name].type) for name in MUTABLE_COLUMNS})
    .where(
        BOOKING.c.id == bindparam("of"),
        or_(
            bindparam("of_state") != BookingState.CONFIRMED.value,
            BOOKING.c.state == BookingState.CONFIRMED.value,
            func.clock_timestamp() <= bindparam("of_valid_until", type_=BOOKING.c.quote_valid_until.type),
        ),
    )
    .returning(BOOKING.c.id)
)
READ_LEDGER = (
    select(BOOKING)
    .where(
        BOOKING.c.key >= bindparam("prefix"),
        BOOKING.c.key >= bindparam("after_key"),
        tuple_(BOOKING.c.key, BOOKING.c.id) > tuple_(bindparam("after_key"), bindparam("after_id")),
        func.starts_with(BOOKING.c.key, bindparam("prefix")),
    )
    .order_by(BOOKING.c.key, BOOKING.c.id)
    .limit(bindparam("limit"))
)


# The page is read by the index idempotency_record_created, and its bookings by their primary key.
LIST_WAITING = text("""
    WITH page AS MATERIALIZED (
        SELECT booking_id, created_at FROM idempotency_record
        WHERE created_at > :after AND created_at < :before ORDER BY created_at LIMIT :limit)
    SELECT (SELECT max(created_at) FROM page) AS looked_at_until, booking.*
    FROM (VALUES (1)) AS one LEFT JOIN booking ON booking.id = ANY (ARRAY(SELECT booking_id FROM page))
        AND booking.notified_at IS NULL""")


class BookingSql(TripSql):
    """BookingWork on an open transaction."""

    async def create(self, booking: Booking, record: IdempotencyRecord) -> None:
        response = record.response
        row = {
            **immutable_values(booking),
            "booking_id": booking.id,
            "state": booking.state.value,
            "history": history_json(booking),
            "fingerprint": record.fingerprint,
            "created_at": record.created_at,
            "status": response.status if response else None,
            "body": response.body if response else None,
        }
        self.guard_with(GuardInsert(CREATE, row, DuplicateKey))

    async def find_idempotency_record(self, key: RiderKey) -> IdempotencyRecord | None:
        row = (await self.connection.execute_without_begin(FIND_IDEMPOTENCY_RECORD, _of(key))).first()
        if row is None:
            return None
        return IdempotencyRecord(
            key=RiderKey(row.rider_id, row.key),
            booking_id=row.booking_id,
            fingerprint=row.fingerprint,
            created_at=row.created_at,
            response=StoredResponse(booking_id=row.booking_id, status=row.status, body=row.body)
            if row.status
            else None,
        )

    async def store_response(self, key: RiderKey, response: StoredResponse) -> StoredResponse:
        values = {**_of(key), "new_status": response.status, "new_body": response.body}
        booking_id, status, body = (await self.connection.execute_without_begin(STORE_RESPONSE, values)).one()
        return StoredResponse(booking_id=booking_id, status=status, body=body)

    async def find(self, booking_id: str) -> Booking | None:
        row = (await self.connection.execute_without_begin(FIND, {"of": booking_id})).first()
        return booking_of(row) if row else None

    async def lock(self, booking_id: str) -> LockedBooking | None:
        row = (await self.connection.execute(LOCK, {"of": booking_id})).first()
        return LockedBooking(booking_of(row), requested_at=row.created_at, db_now=row.db_now) if row else None

    async def save(self, booking: Booking) -> None:
        values = mutable_values(booking)
        guard = {"of_state": values["state"], "of_valid_until": values["quote_valid_until"]}
        new = {f"new_{name}": value for name, value in values.items()}
        if (await self.connection.execute(SAVE, {"of": booking.id, **guard, **new})).first() is None:
            raise StaleDecision(
                f"booking {booking.id} was not confirmed: its quote expired, or the booking was deleted; read it again"
            )

    async def save_route(self, booking_id: str, geometry: RouteGeometry) -> int | None:
        revision: int | None = await self._fetch_scalar(SAVE_ROUTE, booking_id=booking_id, geometry=to_json(geometry))
        return revision

    async def find_route(self, booking_id: str) -> PlannedRoute | None:
        row = (await self.connection.execute_without_begin(FIND_ROUTE, {"booking_id": booking_id})).first()
        if row is None:
            return None
        return PlannedRoute(revision=row.revision, geometry=msgspec.json.decode(row.geometry, type=RouteGeometry))

    async def read_switches(self) -> Mapping[str, SwitchPosition]:
        rows = await self.connection.execute_without_begin(READ_SWITCHES, {})
        return {row.name: SwitchPosition(row.value, row.changed_at) for row in rows}

    async def set_switches(self, values: Mapping[str, str | None]) -> None:
        for name, value in sorted(values.items()):  # in one order, so that two operators cannot deadlock
            if value is None:
                await self.connection.execute(RESET_SWITCH, {"name": name})
            else:
                await self.connection.execute(SET_SWITCH, {"name": name, "value": value})

    async def take_token(self, campaign: str, max_tokens: int, window_s: float) -> float | None:
        await self.flush_guard()
        values = {"campaign": campaign, "max_tokens": max_tokens, "window_s": window_s}
        if (await self.connection.execute(TAKE_TOKEN, values)).first() is not None:
            return None
        return max(
            0.0,
            float((await self.connection.execute_without_begin(WINDOW_LEFT_S, {"window_s": window_s})).scalar_one()),
        )

    async def read_load_signals(self, flows: Collection[str], max_rows: int) -> LoadSignals:
        window = {"window_s": RATE_WINDOW_S, "min_window_s": MIN_RATE_WINDOW_S}
        values = {"flows": list(flows), "max_rows": max_rows, "route": BROKER_ROUTE, **window}
        return load_signals_of((await self.connection.execute_without_begin(READ_LOAD_SIGNALS, values)).all())

    async def list_waiting(self, after: datetime, before: datetime, limit: int) -> WaitingPage:
        values = {"after": after, "before": before, "limit": limit}
        rows = await self.connection.execute_without_begin(LIST_WAITING, values)
        return WaitingPage([booking_of(row) for row in rows if row.id], rows[0].looked_at_until or after)

    async def read_ledger(self, prefix: str, after: LedgerPosition, limit: int) -> Sequence[Booking]:
        rows = await self.connection.execute_without_begin(
            READ_LEDGER, {"prefix": prefix, "after_key": after.key, "after_id": after.booking_id, "limit": limit}
        )
        return [booking_of(row) for row in rows]

    async def read_ledger_totals(self) -> Sequence[LedgerTotal]:
        return totals_of(await self.connection.execute_without_begin(READ_LEDGER_TOTALS, {}))

    async def read_clocks(self, window_s: float) -> Sequence[PlanClock]:
        return clocks_of(await self.connection.execute_without_begin(READ_CLOCKS, clock_parameters(window_s)))

    async def find_conversations(self, reference: str, limit: int) -> Sequence[ConversationSummary]:
        values = {"reference": reference, "limit": limit}
        return summaries_of(await self.connection.execute_without_begin(FIND_CONVERSATIONS, values))


def _of(key: RiderKey) -> dict[str, str]:
    return {"of_key": key.key, "of_rider": key.rider_id}
