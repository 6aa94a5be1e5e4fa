"""A cause and an end for what the outbox of operations gives up."""

import messaging_v4

revision = "operations_0004"
down_revision = "operations_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v4.upgrade("operations")


def downgrade() -> None:
    messaging_v4.downgrade("operations")
