"""Pricing whose handler fails: a trigger refuses its writes.

Without a privilege it would pause instead, because the statements are the same for every message.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.integration.database_probe import DatabaseProbe

EVERY_QUOTE = "NEW.state <> 'ended'"
"""Condition that a quote meets and the end of a booking does not."""
REFUSE = """
    CREATE FUNCTION pricing.refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'this booking always fails'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON pricing.discount_grant FOR EACH ROW WHEN ({condition})
        EXECUTE FUNCTION pricing.refuse()"""


@asynccontextmanager
async def broken_pricing(database: DatabaseProbe, condition: str = EVERY_QUOTE) -> AsyncIterator[None]:
    """Make pricing's handler fail while the block runs, for rows that meet the ``condition`` in SQL."""
    await database.connection.execute(REFUSE.format(condition=condition))
    try:
        yield
    finally:
        await database.connection.execute("DROP FUNCTION pricing.refuse CASCADE")
