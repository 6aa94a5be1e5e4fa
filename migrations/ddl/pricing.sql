-- The campaign's quota, and the discount grant of each booking.

-- One row that every quote updates: almost the whole page is free (fillfactor), so that the updates stay on it.
-- The check is the second guard, below the statement that grants. The quota is a setting; the first grant stores it.
CREATE TABLE pricing.campaign (
    name text PRIMARY KEY,
    quota bigint NOT NULL DEFAULT 0,
    granted bigint NOT NULL DEFAULT 0,
    CONSTRAINT campaign_granted_check CHECK (granted BETWEEN 0 AND quota)
) WITH (fillfactor = 10);

INSERT INTO pricing.campaign (name) VALUES ('launch');

CREATE TABLE pricing.discount_grant (
    booking_id text PRIMARY KEY,
    state text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT discount_grant_state_check CHECK (state IN ('granted', 'none_left', 'returned', 'ended'))
);

-- Two retention periods, so two indexes: a grant in use is kept until its ride can no longer be cancelled.
CREATE INDEX discount_grant_age ON pricing.discount_grant (updated_at) WHERE state <> 'granted';

CREATE INDEX discount_grant_granted_age ON pricing.discount_grant (updated_at) WHERE state = 'granted';
