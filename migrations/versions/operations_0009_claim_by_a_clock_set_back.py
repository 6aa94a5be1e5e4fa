"""A claim that keeps its order when the database's clock is set back, for operations."""

import messaging_v9

revision = "operations_0009"
down_revision = "operations_0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v9.upgrade("operations")


def downgrade() -> None:
    messaging_v9.downgrade("operations")
