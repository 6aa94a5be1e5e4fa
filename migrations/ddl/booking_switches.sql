-- Settings that operators change while the suite runs, such as `coupling.quote_fare` of the default plan. A switch without
-- a row is as the configuration says.
CREATE TABLE booking.switch (
    name text PRIMARY KEY,
    value text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);
