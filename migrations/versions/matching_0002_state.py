"""Auctions, and which driver's slot belongs to which booking."""

from alembic import op

revision = "matching_0002"
down_revision = "matching_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE matching.auction (
            booking_id text PRIMARY KEY,
            closed boolean NOT NULL,
            late int NOT NULL CHECK (late >= 0),
            document jsonb NOT NULL,
            opened_at timestamptz NOT NULL DEFAULT now()
        ) WITH (fillfactor = 70)""")
    op.execute("""
        CREATE TABLE matching.assignment (
            booking_id text PRIMARY KEY,
            fleet text NOT NULL,
            driver text NOT NULL,
            slot timestamptz NOT NULL,
            assigned_at timestamptz NOT NULL DEFAULT now(),
            UNIQUE (driver, slot)
        )""")


def downgrade() -> None:
    op.execute("DROP TABLE matching.assignment")
    op.execute("DROP TABLE matching.auction")
