"""Claim store of pricing: migrations/ddl/claim_store.sql."""

import ddl_script
from alembic import op

revision = "pricing_0002"
down_revision = "pricing_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ddl_script.run("claim_store", "pricing")


def downgrade() -> None:
    op.execute("DROP TABLE pricing.checked_body")
