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

# The latest reply shows that its provider is there. A timeout reply, which ends its booking, shows the opposite.
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
        LIMIT :max_rows)
    SELECT 'outbox' AS signal, '' AS flow, '' AS coupling, count(*) AS rows,
        coalesce(extract(epoch FROM now() - min(created_at)
            FILTER (WHERE route = :route AND flow = ANY (CAST(:flows AS text[])))), 0) AS seconds FROM waiting
    UNION ALL
    SELECT 'pending', flow, plan ->> flow, count(*), extract(epoch FROM min(due_at) - now())
    FROM pending JOIN booking ON id = conversation_id GROUP BY flow, plan ->> flow
    UNION ALL
    SELECT 'received', flow, plan ->> flow, count(*),
        extract(epoch FROM now() - max(received_at) FILTER (WHERE state NOT IN ({EXPIRED}, {FAILED})))
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
        replies_per_s={flow_coupling: row.rows / RATE_WINDOW_S for flow_coupling, row in received.items()},
        reply_age_s={
            flow_coupling: float(row.seconds) for flow_coupling, row in received.items() if row.seconds is not None
        },
    )


def _flow_coupling(row: Any) -> FlowCoupling:
    return row.flow, Coupling(row.coupling)
