-- Trips: several bookings with one outcome.

-- A trip is created in one statement with its legs, and keeps the aggregate of their outcomes: results has the outcome
-- of each leg by its number, completed_by the reason for which the outcome of the trip was decided. The unique key makes
-- one trip of two equal requests of a rider; the response to the first one is stored with it.
-- due_at is deadline_s after created_at, both on the database's clock, which all replicas share.
-- A trip changes a handful of times; the free space on each page (fillfactor) keeps the updates on it.
CREATE TABLE booking.trip (
    id text PRIMARY KEY,
    key text COLLATE "C" NOT NULL,
    rider_id text NOT NULL,
    plan jsonb NOT NULL,
    policy text NOT NULL,
    deadline_s double precision NOT NULL,
    callback_url text,
    legs integer NOT NULL,
    fingerprint bytea NOT NULL,
    response bytea NOT NULL,
    results jsonb NOT NULL,
    completed_by text,
    state text NOT NULL,
    history jsonb NOT NULL,
    reason text,
    notified_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz NOT NULL,
    CONSTRAINT trip_key_rider_id_key UNIQUE (key, rider_id),
    CONSTRAINT trip_policy_check CHECK (policy IN ('all', 'partial')),
    CONSTRAINT trip_legs_check CHECK (legs BETWEEN 2 AND 8),
    CONSTRAINT trip_completed_by_check CHECK (completed_by IN ('all_legs', 'failed_leg', 'deadline', 'cancelled')),
    CONSTRAINT trip_state_check CHECK (state IN (
        'requested', 'confirmed', 'partly_confirmed', 'rejected', 'expired', 'cancelled')),
    CONSTRAINT trip_completed_check CHECK ((state = 'requested') = (completed_by IS NULL))
) WITH (fillfactor = 60);

-- Open trips by their deadline: the only ones that a scan for overdue trips reads.
CREATE INDEX trip_open ON booking.trip (due_at) WHERE state = 'requested';

-- A leg is a booking with its place in a trip. Bookings of their own are not in the index.
ALTER TABLE booking.booking
    ADD COLUMN trip_id text,
    ADD COLUMN leg integer,
    ADD CONSTRAINT booking_leg_check CHECK ((trip_id IS NULL) = (leg IS NULL));

CREATE UNIQUE INDEX booking_trip ON booking.booking (trip_id, leg) WHERE trip_id IS NOT NULL;
