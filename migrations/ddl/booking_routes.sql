-- The route that a rider has planned for a booking, as GeoJSON text: it is compared and sent as a whole, never searched.
CREATE TABLE booking.route (
    booking_id text PRIMARY KEY,
    revision integer NOT NULL,
    geometry text NOT NULL,
    planned_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT route_revision_check CHECK (revision > 0)
);
