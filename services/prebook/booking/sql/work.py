"""Booking's state on PostgreSQL."""

from collections.abc import Collection, Sequence

from sqlalchemy import bindparam, func, or_, select, text, update

from prebook.booking.domain.booking import Booking
from prebook.booking.sql.load_signals import MOST_LOOKED_AT, SIGNALS, WINDOW_S, signals_of
from prebook.booking.sql.rows import PROGRESS, booking_of, history_of, identity_of, progress_of
from prebook.booking.sql.tables import BOOKING, CLAIM
from prebook.booking.store import Claim, Held, KeyTaken, Signals, StoredResponse, TooLate
from prebook.contracts.booking import State
from prebook.coupling.ports import BROKER_LANE
from prebook.postgres.flush import Opening
from prebook.postgres.unit_of_work import SqlWork

# Two at once meet on the row, and the second one counts on from what the first has committed.
TAKE = text("""
    INSERT INTO token_window (campaign, began, taken)
    VALUES (:campaign, to_timestamp(floor(extract(epoch FROM now()) / :window_s) * :window_s), 1)
    ON CONFLICT (campaign, began) DO UPDATE SET taken = token_window.taken + 1 WHERE token_window.taken < :most
    RETURNING taken""")
LEFT_S = text("""
    SELECT :window_s - (extract(epoch FROM clock_timestamp())
        - floor(extract(epoch FROM now()) / :window_s) * :window_s)""")


# The booking's unique key decides between two requests, and the claim is written only by the winner. A second request
# waits here until the first one's transaction ends.
OPEN = """
    booked AS (
        INSERT INTO booking (id, key, rider_id, pickup_lat, pickup_lon, dropoff_lat, dropoff_lon, pickup_at,
            vehicle_class, passengers, callback_url, plan, state, history)
        VALUES (:booking_id, :key, :rider_id, :pickup_lat, :pickup_lon, :dropoff_lat, :dropoff_lon, :pickup_at,
            :vehicle_class, :passengers, :callback_url, :plan, :state, :history)
        ON CONFLICT (key) DO NOTHING RETURNING key, id),
    opened AS (
        INSERT INTO claim (key, booking_id, fingerprint, claimed_at, status, body)
        SELECT key, id, CAST(:fingerprint AS bytea), CAST(:claimed_at AS timestamptz), CAST(:status AS int),
            CAST(:body AS bytea)
        FROM booked RETURNING 1)"""
CLAIM_OF = select(CLAIM).where(CLAIM.c.key == bindparam("of"))
# The first answer stays: whoever comes later gets what is there.
RESPOND = (
    update(CLAIM)
    .where(CLAIM.c.key == bindparam("of"))
    .values(
        status=func.coalesce(CLAIM.c.status, bindparam("new_status", type_=CLAIM.c.status.type)),
        body=func.coalesce(CLAIM.c.body, bindparam("new_body", type_=CLAIM.c.body.type)),
    )
    .returning(CLAIM.c.booking_id, CLAIM.c.status, CLAIM.c.body)
)
FIND = select(BOOKING).where(BOOKING.c.id == bindparam("of"))
HOLD = (
    select(BOOKING, func.clock_timestamp().label("looked_at")).where(BOOKING.c.id == bindparam("of")).with_for_update()
)
# The second net under the decision: whatever kept us since we looked, nothing is confirmed after its quote ran out.
SAVE = (
    update(BOOKING)
    .values({name: bindparam(f"new_{name}", type_=BOOKING.c[name].type) for name in PROGRESS})
    .where(
        BOOKING.c.id == bindparam("of"),
        or_(
            bindparam("of_state") != State.CONFIRMED.value,
            BOOKING.c.state == State.CONFIRMED.value,
            func.clock_timestamp() <= bindparam("of_valid_until", type_=BOOKING.c.quote_valid_until.type),
        ),
    )
    .returning(BOOKING.c.id)
)
LEDGER = (
    select(BOOKING)
    .where(
        BOOKING.c.key >= bindparam("prefix"),
        BOOKING.c.key > bindparam("after"),
        func.starts_with(BOOKING.c.key, bindparam("prefix")),
    )
    .order_by(BOOKING.c.key)
    .limit(bindparam("most"))
)


class BookingSql(SqlWork):
    """BookingWork; the unit of work is the transaction that is open."""

    async def open(self, booking: Booking, claim: Claim) -> None:
        response = claim.response
        taken = {
            **identity_of(booking),
            "booking_id": booking.id,
            "state": booking.state.value,
            "history": history_of(booking),
            "fingerprint": claim.fingerprint,
            "claimed_at": claim.claimed_at,
            "status": response.status if response else None,
            "body": response.body if response else None,
        }
        self.begin_with(Opening(OPEN, taken, KeyTaken))

    async def claim(self, key: str) -> Claim | None:
        row = (await self.connection.alone(CLAIM_OF, {"of": key})).first()
        if row is None:
            return None
        return Claim(
            key=row.key,
            booking_id=row.booking_id,
            fingerprint=row.fingerprint,
            claimed_at=row.claimed_at,
            response=StoredResponse(booking_id=row.booking_id, status=row.status, body=row.body)
            if row.status
            else None,
        )

    async def respond(self, key: str, response: StoredResponse) -> StoredResponse:
        values = {"of": key, "new_status": response.status, "new_body": response.body}
        booking_id, status, body = (await self.connection.alone(RESPOND, values)).one()
        return StoredResponse(booking_id=booking_id, status=status, body=body)

    async def find(self, booking_id: str) -> Booking | None:
        row = (await self.connection.alone(FIND, {"of": booking_id})).first()
        return booking_of(row) if row else None

    async def hold(self, booking_id: str) -> Held | None:
        row = (await self.connection.execute(HOLD, {"of": booking_id})).first()
        return Held(booking_of(row), asked_at=row.created_at, looked_at=row.looked_at) if row else None

    async def save(self, booking: Booking) -> None:
        progress = progress_of(booking)
        guard = {"of_state": progress["state"], "of_valid_until": progress["quote_valid_until"]}
        new = {f"new_{name}": value for name, value in progress.items()}
        if (await self.connection.execute(SAVE, {"of": booking.id, **guard, **new})).first() is None:
            raise TooLate(f"booking {booking.id} was not confirmed: its quote ran out, or it is gone; look again")

    async def take_token(self, campaign: str, most: int, window_s: float) -> float | None:
        await self.opened()
        values = {"campaign": campaign, "most": most, "window_s": window_s}
        if (await self.connection.execute(TAKE, values)).first() is not None:
            return None
        return max(0.0, float((await self.connection.alone(LEFT_S, {"window_s": window_s})).scalar_one()))

    async def signals(self, flows: Collection[str]) -> Signals:
        values = {"flows": list(flows), "most": MOST_LOOKED_AT, "lane": BROKER_LANE, "window_s": WINDOW_S}
        return signals_of((await self.connection.alone(SIGNALS, values)).all())

    async def ledger(self, prefix: str, after: str, limit: int) -> Sequence[Booking]:
        rows = await self.connection.alone(LEDGER, {"prefix": prefix, "after": after, "most": limit})
        return [booking_of(row) for row in rows]
