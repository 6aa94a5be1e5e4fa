"""Recognition of a pooler in transaction mode between the service and its database.

Such a pooler gives every transaction any of its server connections. Session locks, LISTEN, prepared statements and the
session that proves that a relay lives are then another client's: locks stay behind, and rows are sent twice. A pooler
in session mode, or a proxy, changes none of that and is not refused.
"""

from typing import Any, Protocol

from sqlalchemy import text

from prebook.messaging.errors import Unreachable

GENERIC_PLANS = "force_generic_plan"
"""Setting of every connection (``engine.PLANNER_SETTINGS``) that no role or database has by itself."""
IDENTIFY = text("SELECT pg_backend_pid() AS pid, current_setting('plan_cache_mode') AS plan_cache_mode")
REASON = "a pooler in transaction mode is between the service and the database"
REMEDY = "PREBOOK_DATABASE_URL has to name the database itself"

REFUSED_SETTING = "unsupported startup parameter"
"""PgBouncer's error for a connection with settings that it is not configured to ignore, in any mode."""
SETTINGS_REFUSED = f"a pooler that refuses the settings of connections is in between: {REMEDY}"


class Session(Protocol):
    """A connection to the database, or to a pooler in front of it."""

    @property
    def server_pid(self) -> int:
        """Process id that the server, or the pooler, reported when the connection was opened."""

    async def execute(self, statement: Any) -> Any:
        """Run a statement in a transaction, which begins here if it has not begun yet."""

    async def execute_without_begin(self, statement: Any) -> Any:
        """Run a statement on its own."""


async def is_pooled(session: Session) -> bool:
    """Return whether the server process is another one than the process that opened the connection.

    Raises:
        Unreachable: The settings of the connection did not reach the server.
    """
    found = (await session.execute_without_begin(IDENTIFY)).one()
    if found.plan_cache_mode != GENERIC_PLANS:
        raise Unreachable(f"{REASON}: settings of the connection are lost; {REMEDY}")
    return bool(found.pid != session.server_pid)


async def refuse_shared_server(session: Session, other: Session) -> None:
    """Check that an open session keeps its server process while another one is in a transaction.

    Raises:
        Unreachable: Both are served by the same process.
    """
    own = (await session.execute_without_begin(IDENTIFY)).one().pid
    if (await other.execute(IDENTIFY)).one().pid == own:
        raise Unreachable(f"{REASON}: two connections share a server process; {REMEDY}")
