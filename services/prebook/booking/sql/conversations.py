"""Conversations by a booking id, trip id or Idempotency-Key, without the rider."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import text

from prebook.contracts.conversations import ConversationChange, ConversationSummary
from prebook.contracts.plan import Coupling

# Each part of the union has an index: the primary keys, and the unique keys, which begin with the Idempotency-Key. Keys
# of legs are made by the service, and none is looked up by them.
FIND_CONVERSATIONS = text("""
    WITH found AS (
        SELECT id FROM booking WHERE id = :reference
        UNION SELECT id FROM booking WHERE key = :reference AND trip_id IS NULL
        UNION SELECT id FROM trip WHERE id = :reference
        UNION SELECT id FROM trip WHERE key = :reference)
    SELECT id, plan, coalesce(record.created_at, booking.created_at) AS requested_at, history, notified_at, reason,
        CASE WHEN trip_id IS NULL THEN ARRAY[]::text[] ELSE ARRAY[trip_id] END AS related
    FROM booking LEFT JOIN idempotency_record AS record ON record.booking_id = booking.id
    WHERE id IN (SELECT id FROM found)
    UNION ALL
    SELECT id, plan, created_at, history, notified_at, reason,
        ARRAY(SELECT leg.id FROM booking AS leg WHERE leg.trip_id = trip.id ORDER BY leg.leg)
    FROM trip WHERE id IN (SELECT id FROM found)
    ORDER BY requested_at LIMIT :limit""")


def summaries_of(rows: Iterable[Any]) -> Sequence[ConversationSummary]:
    """Return the conversations of the rows that FIND_CONVERSATIONS returns."""
    return [
        ConversationSummary(
            id=row.id,
            couplings={flow: Coupling(coupling) for flow, coupling in row.plan.items()},
            requested_at=row.requested_at,
            history=msgspec.convert(row.history, tuple[ConversationChange, ...]),
            notified_at=row.notified_at,
            reason=row.reason,
            related=tuple(row.related),
        )
        for row in rows
    ]
