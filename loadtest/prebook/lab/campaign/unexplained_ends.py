"""Accepted rides of a scenario that ended without an answer, although no fault can have caused that. Pure.

A deadline hides a lost message: the ride expires, its rider is notified of that, and the ledger closes. A flow that
waits for its provider ends a ride only after its deadline, so that a fault must have lasted for a good part of this
time. A synchronous call fails on a busy machine, too, which a campaign does not observe: `prebook chaos` judges those.
"""

from collections.abc import Iterable, Iterator

from prebook.lab.chaos.explanations import unanswered_flows
from prebook.lab.chaos.fault_periods import Period, clipped, is_delayed
from prebook.lab.faults import Fault, FaultWindow
from prebook.lab.faults.effects import WAITING_COUPLINGS, effect_of
from prebook.lab.ledger.accounts import RideAccount
from prebook.lab.ledger.discrepancies import Discrepancy, DiscrepancyKind
from prebook.lab.ledger.recovery_time import known_at

MIN_FAULT_SHARE = 0.5
"""Share of the time from the request to the end for which a fault must have lasted. A deadline is most of this time."""


def find_unexplained_ends(
    accounts: Iterable[RideAccount], fault: Fault | None, window: FaultWindow | None
) -> Iterator[Discrepancy]:
    """Yield the rides that a flow that waits has ended, without a fault that can have caused it.

    ``fault`` and ``window``: the fault of the scenario, and when it was active; None without one.
    """
    for account in accounts:
        row = account.row
        flows = unanswered_flows(account, all_declined=True)
        if row is None or flows is None or any(row.couplings[flow] not in WAITING_COUPLINGS for flow in flows):
            continue
        concerns = fault is not None and any(is_delayed(flow, row.couplings[flow], effect_of(fault)) for flow in flows)
        if not (concerns and window is not None and lasts_long_enough(account, window)):
            yield Discrepancy(
                kind=DiscrepancyKind.UNEXPLAINED_END,
                label=account.sample.label,
                key=account.sample.key,
                booking_id=row.booking_id,
                detail=f"{row.state} ({row.reason or 'no reason'}), and no fault lasted long enough to cause it",
            )


def lasts_long_enough(account: RideAccount, window: FaultWindow) -> bool:
    """Return whether the fault was active for MIN_FAULT_SHARE of the time from the request to the end of the ride."""
    offered_at = account.sample.intended_at
    ride = Period(offered_at, max(known_at(account), offered_at))
    active = Period(window.started_at, window.ended_at)
    if not active.overlaps(ride):
        return False
    start, end = clipped(active, ride)
    return end - start >= MIN_FAULT_SHARE * (ride.end - ride.start)
