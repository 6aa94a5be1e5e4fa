"""The campaign's quota and who has a share of it."""

from alembic import op

revision = "pricing_0002"
down_revision = "pricing_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The quota itself is a setting; the check is the second net under the counter.
    op.execute("""
        CREATE TABLE pricing.campaign (
            name text PRIMARY KEY,
            granted bigint NOT NULL DEFAULT 0 CHECK (granted >= 0)
        ) WITH (fillfactor = 10)""")
    op.execute("INSERT INTO pricing.campaign (name) VALUES ('launch')")
    op.execute("""
        CREATE TABLE pricing.share (
            booking_id text PRIMARY KEY,
            state text NOT NULL CHECK (state IN ('taken', 'returned', 'ended')),
            at timestamptz NOT NULL DEFAULT now()
        )""")


def downgrade() -> None:
    op.execute("DROP TABLE pricing.share")
    op.execute("DROP TABLE pricing.campaign")
