-- Auctions, and the driver's time slot that each booking has been assigned.

CREATE TABLE matching.auction (
    booking_id text PRIMARY KEY,
    closed boolean NOT NULL,
    late_offers integer NOT NULL,
    document jsonb NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT auction_late_offers_check CHECK (late_offers >= 0)
) WITH (fillfactor = 70);

CREATE TABLE matching.assignment (
    booking_id text PRIMARY KEY,
    fleet text NOT NULL,
    driver text NOT NULL,
    slot timestamptz NOT NULL,
    assigned_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT assignment_driver_slot_key UNIQUE (driver, slot)
);
