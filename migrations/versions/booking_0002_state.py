"""Bookings, and what was answered to which Idempotency-Key."""

from alembic import op

revision = "booking_0002"
down_revision = "booking_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The unique key is what makes one booking of two equal requests. Keys sort by byte: the ledger pages over them.
    # A booking changes a handful of times: room on the page keeps the updates in place.
    op.execute("""
        CREATE TABLE booking.booking (
            id text PRIMARY KEY,
            key text COLLATE "C" NOT NULL UNIQUE,
            rider_id text NOT NULL,
            pickup_lat double precision NOT NULL CHECK (pickup_lat BETWEEN -90 AND 90),
            pickup_lon double precision NOT NULL CHECK (pickup_lon BETWEEN -180 AND 180),
            dropoff_lat double precision NOT NULL CHECK (dropoff_lat BETWEEN -90 AND 90),
            dropoff_lon double precision NOT NULL CHECK (dropoff_lon BETWEEN -180 AND 180),
            pickup_at timestamptz NOT NULL,
            vehicle_class text NOT NULL,
            passengers int NOT NULL CHECK (passengers > 0),
            callback_url text,
            plan jsonb NOT NULL,
            state text NOT NULL CHECK (state IN (
                'requested', 'priced', 'matched', 'confirmed', 'rejected', 'expired', 'cancelled', 'failed')),
            history jsonb NOT NULL,
            fare_cents bigint CHECK (fare_cents >= 0),
            currency text,
            quote_valid_until timestamptz,
            fleet text,
            driver text,
            minutes_away int,
            reason text,
            notified_at timestamptz,
            CHECK (state NOT IN ('priced', 'matched', 'confirmed') OR fare_cents IS NOT NULL),
            CHECK (state NOT IN ('matched', 'confirmed') OR (fleet IS NOT NULL AND driver IS NOT NULL))
        ) WITH (fillfactor = 60)""")
    op.execute("""
        CREATE TABLE booking.claim (
            key text COLLATE "C" PRIMARY KEY,
            booking_id text NOT NULL UNIQUE,
            fingerprint bytea NOT NULL,
            claimed_at timestamptz NOT NULL,
            status int,
            body bytea,
            CHECK ((status IS NULL) = (body IS NULL))
        ) WITH (fillfactor = 60)""")


def downgrade() -> None:
    op.execute("DROP TABLE booking.claim")
    op.execute("DROP TABLE booking.booking")
