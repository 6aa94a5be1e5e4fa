"""Profiles of riders: migrations/ddl/notification_rider_profiles.sql."""

import ddl_script
from alembic import op

revision = "notification_0002"
down_revision = "notification_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ddl_script.run("notification_rider_profiles", "notification")


def downgrade() -> None:
    op.execute("DROP TABLE notification.rider_profile")
