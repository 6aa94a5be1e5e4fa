"""The campaign's quota, and what became of each booking's share of it."""

from alembic import op

revision = "pricing_0002"
down_revision = "pricing_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # One row that is updated all the time: room on its page keeps the updates there. The check is the second net under
    # the statement that grants; the first grant brings the quota, which is a setting.
    op.execute("""
        CREATE TABLE pricing.campaign (
            name text PRIMARY KEY,
            quota bigint NOT NULL DEFAULT 0,
            granted bigint NOT NULL DEFAULT 0,
            CHECK (granted BETWEEN 0 AND quota)
        ) WITH (fillfactor = 10)""")
    op.execute("INSERT INTO pricing.campaign (name) VALUES ('launch')")
    op.execute("""
        CREATE TABLE pricing.share (
            booking_id text PRIMARY KEY,
            state text NOT NULL CHECK (state IN ('taken', 'none_left', 'returned', 'ended')),
            at timestamptz NOT NULL DEFAULT now()
        )""")


def downgrade() -> None:
    op.execute("DROP TABLE pricing.share")
    op.execute("DROP TABLE pricing.campaign")
