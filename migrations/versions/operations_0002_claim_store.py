"""Claim store of operations: migrations/ddl/claim_store.sql."""

import ddl_script
from alembic import op

revision = "operations_0002"
down_revision = "operations_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ddl_script.run("claim_store", "operations")


def downgrade() -> None:
    op.execute("DROP TABLE operations.checked_body")
