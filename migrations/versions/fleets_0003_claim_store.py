"""Claim store of fleets: migrations/ddl/claim_store.sql."""

import ddl_script
from alembic import op

revision = "fleets_0003"
down_revision = "fleets_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ddl_script.run("claim_store", "fleets")


def downgrade() -> None:
    op.execute("DROP TABLE fleets.checked_body")
