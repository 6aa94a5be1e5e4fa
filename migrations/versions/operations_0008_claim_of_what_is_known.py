"""A claim that takes nothing behind a row of its relay that the relay does not know, for operations."""

import messaging_v8

revision = "operations_0008"
down_revision = "operations_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v8.upgrade("operations")


def downgrade() -> None:
    messaging_v8.downgrade("operations")
