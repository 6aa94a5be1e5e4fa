"""Claim store of matching: migrations/ddl/claim_store.sql."""

import ddl_script
from alembic import op

revision = "matching_0003"
down_revision = "matching_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ddl_script.run("claim_store", "matching")


def downgrade() -> None:
    op.execute("DROP TABLE matching.checked_body")
