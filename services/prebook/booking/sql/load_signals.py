"""How much waits, in one statement over booking's own tables.

What booking has asked and not been answered stands in ``awaited``, whoever works on it, however it travels and in
whichever queue it lies: no look into other services' queues is needed, which booking may not read and, where it tells
instead of asking, does not know. No part of it looks at more rows than ``most``.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text

from prebook.booking.store import FlowCoupling, LoadSignals
from prebook.contracts.plan import Coupling

MAX_SCANNED_ROWS = 2_000
RATE_WINDOW_S = 3.0
"""Over which the rate of answers is taken."""

READ_LOAD_SIGNALS = text("""
    WITH waiting AS (
        SELECT lane, flow, created_at FROM outbox
        WHERE state = 'waiting' AND (not_before <= now() OR failures > 0) ORDER BY seq LIMIT :most),
    asked AS (
        SELECT flow, conversation, due_at FROM awaited
        WHERE flow = ANY (CAST(:flows AS text[])) ORDER BY due_at LIMIT :most),
    heard AS (
        SELECT flow, conversation FROM inbox
        WHERE received_at > now() - make_interval(secs => :window_s) AND flow = ANY (CAST(:flows AS text[]))
        LIMIT :most)
    SELECT 'outbox' AS what, '' AS flow, '' AS coupling, count(*) AS rows,
        coalesce(extract(epoch FROM now() - min(created_at)
            FILTER (WHERE lane = :lane AND flow = ANY (CAST(:flows AS text[])))), 0) AS seconds FROM waiting
    UNION ALL
    SELECT 'asked', flow, plan ->> flow, count(*), extract(epoch FROM min(due_at) - now())
    FROM asked JOIN booking ON id = conversation GROUP BY flow, plan ->> flow
    UNION ALL
    SELECT 'heard', flow, plan ->> flow, count(*), 0
    FROM heard JOIN booking ON id = conversation GROUP BY flow, plan ->> flow""")


def load_signals_of(rows: Sequence[Any]) -> LoadSignals:
    (outbox,) = [row for row in rows if row.what == "outbox"]
    asked = {_flow_coupling(row): row for row in rows if row.what == "asked"}
    return LoadSignals(
        outbox_rows=outbox.rows,
        outbox_age_s=float(outbox.seconds),
        pending_requests={leg: row.rows for leg, row in asked.items()},
        time_to_deadline_s={leg: float(row.seconds) for leg, row in asked.items()},
        replies_per_s={_flow_coupling(row): row.rows / RATE_WINDOW_S for row in rows if row.what == "heard"},
    )


def _flow_coupling(row: Any) -> FlowCoupling:
    return row.flow, Coupling(row.coupling)
