"""A claim of outbox rows that costs the same whatever the statistics say, for operations."""

import messaging_v7

revision = "operations_0007"
down_revision = "operations_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v7.upgrade("operations")


def downgrade() -> None:
    messaging_v7.downgrade("operations")
