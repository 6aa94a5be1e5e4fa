"""A claim of outbox rows whose plan cannot go wrong, for operations."""

import messaging_v6

revision = "operations_0006"
down_revision = "operations_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v6.upgrade("operations")


def downgrade() -> None:
    messaging_v6.downgrade("operations")
