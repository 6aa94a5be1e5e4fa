"""Facts about auctions, read from the private tables of matching and fleets."""

from collections.abc import Collection, Mapping

import asyncpg
import msgspec

from prebook.contracts.matching import DriverReply
from prebook.lab.experiments.scatter_gather.laws import AuctionFacts
from prebook.matching.domain.auction import Auction

SELECT_AUCTIONS = """
    SELECT auction.booking_id, auction.document::text AS document, auction.opened_at,
        answer.created_at AS decided_at,
        (SELECT count(*) FROM fleets.inbox AS asked WHERE asked.conversation_id = auction.booking_id
            AND asked.flow = 'ask_fleet' AND asked.reply IS NOT NULL) AS replies_sent,
        ARRAY(SELECT asked.received_at FROM fleets.inbox AS asked WHERE asked.conversation_id = auction.booking_id
            AND asked.flow = 'ask_fleet' AND asked.reply::jsonb -> 'headers' ->> 'ce-type' LIKE '%.fleet_offered.%'
            ORDER BY 1) AS offers_at
    FROM matching.auction
    LEFT JOIN matching.outbox AS answer ON answer.conversation_id = auction.booking_id
        AND answer.flow = 'find_driver' AND answer.kind = 'reply'
    WHERE auction.booking_id = ANY($1)"""
COUNT_AUCTIONS = "SELECT count(*) FROM matching.auction WHERE booking_id = ANY($1)"
COUNT_SETTLED = f"{COUNT_AUCTIONS} AND jsonb_array_length(document -> 'pending_fleets') = 0"
# One late reply is handled without being counted, as if its update had been lost.
IGNORE_LATE_REPLY = """
    CREATE TABLE matching.lab_lost (booking_id text);
    CREATE FUNCTION matching.lab_lose() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
        IF NOT EXISTS (SELECT FROM matching.lab_lost) THEN
            INSERT INTO matching.lab_lost VALUES (NEW.booking_id);
            NEW.document = jsonb_set(NEW.document, '{verdicts}', OLD.document -> 'verdicts');
        END IF; RETURN NEW; END $$;
    CREATE TRIGGER lab_lose BEFORE UPDATE ON matching.auction FOR EACH ROW
        WHEN (NEW.document ->> 'verdicts' LIKE '%late%' AND OLD.document ->> 'verdicts' NOT LIKE '%late%')
        EXECUTE FUNCTION matching.lab_lose()"""


async def ignore_a_late_reply(database: asyncpg.Connection) -> None:
    """Let the next late reply go uncounted."""
    await database.execute(IGNORE_LATE_REPLY)


async def count_auctions(database: asyncpg.Connection, bookings: Collection[str]) -> int:
    """Return the number of auctions of ``bookings``."""
    count: int = await database.fetchval(COUNT_AUCTIONS, bookings)
    return count


async def count_settled(database: asyncpg.Connection, bookings: Collection[str]) -> int:
    """Return the number of auctions of ``bookings`` that wait for no fleet any more."""
    count: int = await database.fetchval(COUNT_SETTLED, bookings)
    return count


async def read_auctions(
    database: asyncpg.Connection, answers: Mapping[str, DriverReply | None], disturbed: Collection[str]
) -> list[AuctionFacts]:
    """Return the facts about auctions. ``answers``: answer to each booking; ``disturbed``: bookings during a kill."""
    rows = await database.fetch(SELECT_AUCTIONS, list(answers))
    return [_facts(row, answers[row["booking_id"]], is_disturbed=row["booking_id"] in disturbed) for row in rows]


def _facts(row: asyncpg.Record, answer: DriverReply | None, *, is_disturbed: bool) -> AuctionFacts:
    auction = msgspec.json.decode(row["document"], type=Auction)
    return AuctionFacts(
        booking_id=row["booking_id"],
        asked=auction.fleets_asked,
        replies=auction.replies,
        completed_by=auction.completed_by,
        replies_sent=row["replies_sent"],
        opened_at=row["opened_at"],
        decided_at=row["decided_at"],
        offers_at=tuple(row["offers_at"]),
        answer_replied=None if answer is None else answer.fleets_replied,
        disturbed=is_disturbed,
    )
