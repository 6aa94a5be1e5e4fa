-- Deadlines of auctions, on the database's clock.

-- due_at: when an open auction with an offer stops waiting for the other fleets. Null while it has no offer, and once it
-- is closed.
ALTER TABLE matching.auction ADD COLUMN due_at timestamptz;

-- Auctions that wait with an offer: the only ones that a scan for overdue auctions reads.
CREATE INDEX auction_due ON matching.auction (due_at) WHERE due_at IS NOT NULL;
