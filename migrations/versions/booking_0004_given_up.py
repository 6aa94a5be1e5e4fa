"""A cause and an end for what the outbox of booking gives up, and an age for what is forgotten in time."""

import messaging_v4
from alembic import op

revision = "booking_0004"
down_revision = "booking_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v4.upgrade("booking")
    op.execute("CREATE INDEX claim_age ON booking.claim (claimed_at)")


def downgrade() -> None:
    op.execute("DROP INDEX booking.claim_age")
    messaging_v4.downgrade("booking")
