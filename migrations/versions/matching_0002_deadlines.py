"""Deadlines of auctions: migrations/ddl/matching_deadlines.sql."""

import ddl_script
from alembic import op

revision = "matching_0002"
down_revision = "matching_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ddl_script.run("matching_deadlines", "matching")


def downgrade() -> None:
    op.execute("ALTER TABLE matching.auction DROP COLUMN due_at")
