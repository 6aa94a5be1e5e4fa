-- Notices that riders have received.

-- Which notice a booking has had, or will not get any more: the key decides between two deliveries of one notice.
-- Keys sort by byte (COLLATE "C"): the log is paged in this order, whatever the server's locale.
CREATE TABLE notification.notified (
    booking_id text COLLATE "C" NOT NULL,
    notice text COLLATE "C" NOT NULL,
    notified_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (booking_id, notice)
);

CREATE INDEX notified_age ON notification.notified (notified_at);

-- The log. It has no key that could hide a second delivery of a notice.
-- clock_timestamp(), because now() is when the transaction began: too early by the time that it waited for a lock.
CREATE TABLE notification.delivery (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    booking_id text COLLATE "C" NOT NULL,
    notice text COLLATE "C" NOT NULL,
    rider_id text NOT NULL,
    text text NOT NULL,
    delivered_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX delivery_order ON notification.delivery (booking_id, notice, delivered_at);

CREATE INDEX delivery_age ON notification.delivery (delivered_at);
