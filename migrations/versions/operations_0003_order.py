"""Order and fencing for the outbox of operations."""

import messaging_v2

revision = "operations_0003"
down_revision = "operations_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v2.upgrade("operations")


def downgrade() -> None:
    messaging_v2.downgrade("operations")
