"""The schema of operations: migrations/ddl/messaging.sql and migrations/ddl/operations.sql."""

import ddl_script

revision = "operations_0001"
down_revision = None
branch_labels = ("operations",)
depends_on = None


def upgrade() -> None:
    ddl_script.create("operations")


def downgrade() -> None:
    ddl_script.drop("operations")
