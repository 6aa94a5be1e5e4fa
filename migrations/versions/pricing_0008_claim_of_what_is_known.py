"""A claim that takes nothing behind a row of its relay that the relay does not know, for pricing."""

import messaging_v8

revision = "pricing_0008"
down_revision = "pricing_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v8.upgrade("pricing")


def downgrade() -> None:
    messaging_v8.downgrade("pricing")
