"""A cause and an end for what the outbox of pricing gives up, and an age for what is forgotten in time."""

import messaging_v4
from alembic import op

revision = "pricing_0004"
down_revision = "pricing_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v4.upgrade("pricing")
    op.execute("CREATE INDEX share_age ON pricing.share (at) WHERE state <> 'taken'")
    op.execute("CREATE INDEX share_taken_age ON pricing.share (at) WHERE state = 'taken'")


def downgrade() -> None:
    op.execute("DROP INDEX pricing.share_age")
    op.execute("DROP INDEX pricing.share_taken_age")
    messaging_v4.downgrade("pricing")
