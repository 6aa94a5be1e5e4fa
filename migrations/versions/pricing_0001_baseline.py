"""The schema of pricing: migrations/ddl/messaging.sql and migrations/ddl/pricing.sql."""

import ddl_script

revision = "pricing_0001"
down_revision = None
branch_labels = ("pricing",)
depends_on = None


def upgrade() -> None:
    ddl_script.create("pricing")


def downgrade() -> None:
    ddl_script.drop("pricing")
