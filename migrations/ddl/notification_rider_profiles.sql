-- Profiles of riders: what the suite knows about a rider beyond a single ride.

-- One row per rider that has been given a profile; a rider without a row has the standard tier and no home zone.
-- Pricing reads profiles over HTTP, never from this table: no service reads the tables of another one.
CREATE TABLE notification.rider_profile (
    rider_id text PRIMARY KEY,
    tier text NOT NULL,
    home_zone text,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT rider_profile_tier_check CHECK (tier IN ('standard', 'silver', 'gold'))
);
