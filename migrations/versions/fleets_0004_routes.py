"""Routes of rides: migrations/ddl/fleets_routes.sql."""

import ddl_script
from alembic import op

revision = "fleets_0004"
down_revision = "fleets_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ddl_script.run("fleets_routes", "fleets")


def downgrade() -> None:
    op.execute("DROP TABLE fleets.route")
