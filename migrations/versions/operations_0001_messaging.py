"""The schema of operations, its role, and the tables that every process stands on."""

import messaging_v1

revision = "operations_0001"
down_revision = None
branch_labels = ("operations",)
depends_on = None


def upgrade() -> None:
    messaging_v1.create("operations")


def downgrade() -> None:
    messaging_v1.drop("operations")
