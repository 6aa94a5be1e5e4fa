"""The schema of matching: migrations/ddl/messaging.sql and migrations/ddl/matching.sql."""

import ddl_script

revision = "matching_0001"
down_revision = None
branch_labels = ("matching",)
depends_on = None


def upgrade() -> None:
    ddl_script.create("matching")


def downgrade() -> None:
    ddl_script.drop("matching")
