"""A cause and an end for what the outbox of operations gives up, and an age for what is forgotten in time."""

import messaging_v4
from alembic import op

revision = "operations_0004"
down_revision = "operations_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v4.upgrade("operations")
    op.execute("CREATE INDEX parked_resolved_age ON operations.parked (last_failed_at) WHERE state = 'resolved'")


def downgrade() -> None:
    op.execute("DROP INDEX operations.parked_resolved_age")
    messaging_v4.downgrade("operations")
