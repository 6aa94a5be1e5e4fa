"""Load signals in one statement over booking's own tables.

Every request that booking awaits a reply to is in ``pending_reply``, whichever service handles it, with whichever
coupling and in whichever queue. So booking needs no other service's queues, which it may not read and, with one-way
coupling, does not know. No part of the statement reads more than ``max_rows`` rows.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text

from prebook.booking.store import FlowCoupling, LoadSignals
from prebook.contracts.plan import Coupling
from prebook.contracts.ride import BookingState
from prebook.messaging.outbox.store import OutboxState
from prebook.postgres.state_literals import with_states

RATE_WINDOW_S = 3.0
"""Window of the reply rate, in seconds."""
MIN_RATE_WINDOW_S = 0.1
"""Shortest window: messages of one transaction are received at the same time."""

# Beyond max_rows replies in the window, the newest ones are read, and their own time is the window. The latest
# reply shows that its provider is there. A timeout reply, which ends its booking, shows the opposite.
READ_LOAD_SIGNALS = text(
    with_states(
        """
    WITH waiting AS (
        SELECT route, flow, created_at FROM outbox
        WHERE state = {WAITING} AND (not_before <= now() OR failures > 0) ORDER BY seq LIMIT :max_rows),
    pending AS (
        SELECT flow, conversation_id, due_at FROM pending_reply
        WHERE flow = ANY (CAST(:flows AS text[])) ORDER BY due_at LIMIT :max_rows),
    received AS (
        SELECT flow, conversation_id, received_at FROM inbox
        WHERE received_at > now() - make_interval(secs => :window_s) AND flow = ANY (CAST(:flows AS text[]))
        ORDER BY received_at DESC LIMIT :max_rows),
    rate_window AS (
        SELECT CASE WHEN count(*) < :max_rows THEN CAST(:window_s AS float8)
            ELSE greatest(extract(epoch FROM max(received_at) - min(received_at)), :min_window_s) END AS seconds
        FROM received)
    SELECT 'outbox' AS signal, '' AS flow, '' AS coupling, count(*) AS rows,
        coalesce(extract(epoch FROM now() - min(created_at)
            FILTER (WHERE route = :route AND flow = ANY (CAST(:flows AS text[])))), 0) AS seconds,
        0 AS window_s FROM waiting
    UNION ALL
    SELECT 'pending', flow, plan ->> flow, count(*), extract(epoch FROM min(due_at) - now()), 0
    FROM pending JOIN booking ON id = conversation_id GROUP BY flow, plan ->> flow
    UNION ALL
    SELECT 'received', flow, plan ->> flow, count(*),
        extract(epoch FROM now() - max(received_at) FILTER (WHERE state NOT IN ({EXPIRED}, {FAILED}))),
        (SELECT seconds FROM rate_window)
    FROM received JOIN booking ON id = conversation_id GROUP BY flow, plan ->> flow""",
        OutboxState,
        BookingState,
    )
)


def load_signals_of(rows: Sequence[Any]) -> LoadSignals:
    """Load signals of the rows that READ_LOAD_SIGNALS returns."""
    (outbox,) = [row for row in rows if row.signal == "outbox"]
    pending = {_flow_coupling(row): row for row in rows if row.signal == "pending"}
    received = {_flow_coupling(row): row for row in rows if row.signal == "received"}
    return LoadSignals(
        outbox_rows=outbox.rows,
        outbox_age_s=float(outbox.seconds),
        pending_requests={flow_coupling: row.rows for flow_coupling, row in pending.items()},
        time_to_deadline_s={flow_coupling: float(row.seconds) for flow_coupling, row in pending.items()},
        replies_per_s={flow_coupling: row.rows / float(row.window_s) for flow_coupling, row in received.items()},
        reply_age_s={
            flow_coupling: float(row.seconds) for flow_coupling, row in received.items() if row.seconds is not None
        },
    )


def _flow_coupling(row: Any) -> FlowCoupling:
    return row.flow, Coupling(row.coupling)
