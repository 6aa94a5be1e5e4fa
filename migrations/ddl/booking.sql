-- Bookings, idempotency records and campaign tokens.

-- The unique key makes one booking of two equal requests of a rider; riders do not share keys. Keys sort by byte (COLLATE "C"): the ledger pages over them.
-- A booking changes a handful of times; the free space on each page (fillfactor) keeps the updates on it.
-- created_at is the database's time: the validity of a quote is counted from it.
CREATE TABLE booking.booking (
    id text PRIMARY KEY,
    key text COLLATE "C" NOT NULL,
    rider_id text NOT NULL,
    pickup_lat double precision NOT NULL,
    pickup_lon double precision NOT NULL,
    dropoff_lat double precision NOT NULL,
    dropoff_lon double precision NOT NULL,
    pickup_at timestamptz NOT NULL,
    vehicle_class text NOT NULL,
    passengers integer NOT NULL,
    callback_url text,
    plan jsonb NOT NULL,
    state text NOT NULL,
    history jsonb NOT NULL,
    fare_cents bigint,
    currency text,
    quote_valid_until timestamptz,
    fleet text,
    driver text,
    minutes_away integer,
    reason text,
    notified_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT booking_key_rider_id_key UNIQUE (key, rider_id),
    CONSTRAINT booking_pickup_lat_check CHECK (pickup_lat BETWEEN -90 AND 90),
    CONSTRAINT booking_pickup_lon_check CHECK (pickup_lon BETWEEN -180 AND 180),
    CONSTRAINT booking_dropoff_lat_check CHECK (dropoff_lat BETWEEN -90 AND 90),
    CONSTRAINT booking_dropoff_lon_check CHECK (dropoff_lon BETWEEN -180 AND 180),
    CONSTRAINT booking_passengers_check CHECK (passengers > 0),
    CONSTRAINT booking_state_check CHECK (state IN (
        'requested', 'priced', 'matched', 'confirmed', 'rejected', 'expired', 'cancelled', 'failed')),
    CONSTRAINT booking_fare_cents_check CHECK (fare_cents >= 0),
    CONSTRAINT booking_quote_check CHECK (state NOT IN ('priced', 'matched', 'confirmed') OR fare_cents IS NOT NULL),
    CONSTRAINT booking_driver_check
        CHECK (state NOT IN ('matched', 'confirmed') OR (fleet IS NOT NULL AND driver IS NOT NULL))
) WITH (fillfactor = 60);

-- The response that was given to each Idempotency-Key of a rider; status and body are empty until it is known.
CREATE TABLE booking.idempotency_record (
    key text COLLATE "C" NOT NULL,
    rider_id text NOT NULL,
    booking_id text NOT NULL UNIQUE,
    fingerprint bytea NOT NULL,
    created_at timestamptz NOT NULL,
    status integer,
    body bytea,
    PRIMARY KEY (key, rider_id),
    CONSTRAINT idempotency_record_response_check CHECK ((status IS NULL) = (body IS NULL))
) WITH (fillfactor = 60);

CREATE INDEX idempotency_record_created ON booking.idempotency_record (created_at);

-- How many bookings each time window of a campaign has admitted. Every booking of a window updates one row: almost the
-- whole page is free (fillfactor), so that the updates stay on it.
CREATE TABLE booking.token_window (
    campaign text NOT NULL,
    started_at timestamptz NOT NULL,
    tokens_taken integer NOT NULL,
    PRIMARY KEY (campaign, started_at),
    CONSTRAINT token_window_tokens_taken_check CHECK (tokens_taken > 0)
) WITH (fillfactor = 10);
