-- The newest route of each booking, for the driver's navigation. It is personal data, and is deleted after its ride.
CREATE TABLE fleets.route (
    booking_id text PRIMARY KEY,
    revision integer NOT NULL,
    geometry text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT route_revision_check CHECK (revision > 0)
);

CREATE INDEX route_age ON fleets.route (received_at);
