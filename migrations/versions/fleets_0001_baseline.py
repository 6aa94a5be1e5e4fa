"""The schema of fleets: migrations/ddl/messaging.sql and migrations/ddl/fleets.sql."""

import ddl_script

revision = "fleets_0001"
down_revision = None
branch_labels = ("fleets",)
depends_on = None


def upgrade() -> None:
    ddl_script.create("fleets")


def downgrade() -> None:
    ddl_script.drop("fleets")
