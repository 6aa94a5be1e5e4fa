-- Drivers that are reserved for bookings, and partner replies that could not be read.

-- A reservation blocks a driver until expires_at, or for good once it is booked. It has a row for every quarter of an
-- hour (slot) that the ride covers, so that the primary key refuses any two rides that overlap.
CREATE TABLE fleets.reservation (
    fleet text NOT NULL,
    driver text NOT NULL,
    slot timestamptz NOT NULL,
    booking_id text NOT NULL,
    state text NOT NULL DEFAULT 'reserved',
    reserved_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (fleet, driver, slot),
    CONSTRAINT reservation_fleet_booking_id_slot_key UNIQUE (fleet, booking_id, slot),
    CONSTRAINT reservation_state_check CHECK (state IN ('reserved', 'booked'))
);

CREATE TABLE fleets.unreadable_reply (
    booking_id text NOT NULL,
    fleet text NOT NULL,
    excerpt text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (booking_id, fleet)
);
