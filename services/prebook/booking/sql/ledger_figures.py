"""Figures of the ledger for observers: bookings by plan and state, and clocks of recent bookings."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import text

from prebook.booking.store import Clock, PlanClock
from prebook.contracts.booking import ClockFigures, LedgerTotal
from prebook.contracts.plan import Coupling
from prebook.contracts.ride import SETTLED_STATES, BookingState

MAX_SETTLING_S = 120
"""Seconds that a booking in the window may have taken to settle; slower ones are left out of the clocks."""
READ_LEDGER_TOTALS = text("SELECT plan, state, count(*) AS bookings FROM booking GROUP BY plan, state")
# Recent bookings are found by the index idempotency_record_created, and each by its primary key. Legs of trips have no
# record of their own: the trip answers their rider.
READ_CLOCKS = text("""
    WITH recent AS (
        SELECT plan, record.created_at AS requested_at, notified_at,
            (SELECT CAST(change ->> 'at' AS timestamptz) FROM jsonb_array_elements(history) AS change
             WHERE change ->> 'state' = ANY (CAST(:settled_states AS text[])) LIMIT 1) AS settled_at
        FROM idempotency_record AS record JOIN booking ON booking.id = record.booking_id
        WHERE record.created_at > now() - make_interval(secs => :lookback_s)),
    ended AS (
        SELECT 'settled' AS clock, plan, CAST(1000 * extract(epoch FROM settled_at - requested_at) AS float8) AS ms
        FROM recent
        WHERE settled_at > now() - make_interval(secs => :window_s)
        UNION ALL
        SELECT 'notified', plan, CAST(1000 * extract(epoch FROM notified_at - requested_at) AS float8) FROM recent
        WHERE notified_at > now() - make_interval(secs => :window_s))
    SELECT clock, plan, count(*) AS bookings, percentile_disc(0.5) WITHIN GROUP (ORDER BY ms) AS p50_ms,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY ms) AS p99_ms
    FROM ended GROUP BY clock, plan""")


def clock_parameters(window_s: float) -> dict[str, Any]:
    """Return the parameters of READ_CLOCKS."""
    states = sorted(state.value for state in SETTLED_STATES)
    return {"window_s": window_s, "lookback_s": window_s + MAX_SETTLING_S, "settled_states": states}


def totals_of(rows: Iterable[Any]) -> Sequence[LedgerTotal]:
    """Return the totals of the rows that READ_LEDGER_TOTALS returns."""
    return [LedgerTotal(couplings=_plan(row), state=BookingState(row.state), bookings=row.bookings) for row in rows]


def clocks_of(rows: Iterable[Any]) -> Sequence[PlanClock]:
    """Return the clocks of the rows that READ_CLOCKS returns."""
    return [
        PlanClock(_plan(row), Clock(row.clock), ClockFigures(row.bookings, round(row.p50_ms, 3), round(row.p99_ms, 3)))
        for row in rows
    ]


def _plan(row: Any) -> dict[str, Coupling]:
    return {flow: Coupling(coupling) for flow, coupling in row.plan.items()}
