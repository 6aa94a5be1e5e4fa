"""One side of the comparison: find the capacity or take it, then offer a multiple of it, and keep what was seen."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from prebook.lab.burst.capacity import capacity, climbed
from prebook.lab.burst.load_runner import Ground, Offered
from prebook.lab.burst.model import RideLine, Rung, Side
from prebook.lab.campaign.runner import machine
from prebook.lab.ledger import discrepancies
from prebook.lab.ledger.accounts import Account, Fate
from prebook.lab.load.arrivals import Arrivals, Process
from prebook.lab.load.generator import Origin
from prebook.lab.load.retry_policy import Returns
from prebook.lab.load.samples import Refusal
from prebook.lab.quantiles import latency
from prebook.lab.suite_client.settings import StackInfo


@dataclass(frozen=True)
class Terms:
    back_pressure: str
    """As the suite was started: ``on`` or ``off``."""
    capacity_per_s: float | None
    """None: it is to be found."""
    factor: float
    duration_s: float
    returns: Returns


async def played(ground: Ground, terms: Terms, stack: StackInfo, tell: Callable[[str], None]) -> tuple[Side, Offered]:
    """Raises SuiteUnreachable where the suite cannot be read at the end."""
    ladder = await climbed(ground, tell) if terms.capacity_per_s is None else ()
    known = terms.capacity_per_s or capacity(ladder)
    rate = known * terms.factor
    tell(f"burst: {rate:.0f} rides/s for {terms.duration_s:.0f} s, back pressure {terms.back_pressure}")
    began_at = datetime.now(UTC)
    offered = await ground.offer("burst", Arrivals(Process.POISSON, rate, terms.duration_s), terms.returns)
    return side(ground, terms, offered, known=known, ladder=ladder, stack=stack, began_at=began_at), offered


def side(
    ground: Ground,
    terms: Terms,
    offered: Offered,
    *,
    known: float,
    ladder: tuple[Rung, ...],
    stack: StackInfo,
    began_at: datetime,
) -> Side:
    accounts, found = offered.books.accounts, [item.kind for item in offered.books.discrepancies]
    lag = latency(account.sample.lag_ms for account in accounts)
    return Side(
        back_pressure=terms.back_pressure,
        seed=ground.seed,
        capacity_per_s=round(known, 2),
        ladder=ladder,
        factor=terms.factor,
        duration_s=terms.duration_s,
        began_at=began_at,
        stack=stack,
        machine=machine(),
        lag_p99_ms=lag.p99,
        lag_max_ms=lag.max,
        seconds=tuple(offered.watch.seconds),
        rides=tuple(ride_line(account, offered.origin) for account in accounts),
        refusals=said(accounts),
        lost=sum(kind in discrepancies.LOST for kind in found),
        doubled=sum(kind in discrepancies.DOUBLED for kind in found),
        in_flight=sum(account.fate is Fate.IN_FLIGHT for account in accounts),
        settle_s=round(offered.settle_s, 2),
        at_rest=offered.at_rest,
    )


def ride_line(account: Account, origin: Origin) -> RideLine:
    sample, row = account.sample, account.row
    offered_s = after(origin, sample.intended_at) or 0.0
    return RideLine(
        label=sample.label,
        offered_s=offered_s,
        fate=account.fate.value,
        accepted_s=after(origin, row.accepted_at) if row else None,
        settled_s=after(origin, row.settled_at) if row else None,
        refused_s=tuple(round(offered_s + refusal.at_s, 3) for refusal in sample.refusals),
        returns=sample.returns,
        explicit=all(refusal.retry_after_s is not None for refusal in sample.refusals),
        came_in=came_in(sample.refusals, refused=sample.refused, accepted=sample.accepted),
    )


def came_in(refusals: Sequence[Refusal], *, refused: bool, accepted: bool) -> bool | None:
    """Whether who came back when told got in at that visit; None where nobody came back a first time."""
    visits_back = len(refusals) - refused
    if not visits_back:
        return None
    return accepted and visits_back == 1


def after(origin: Origin, moment: datetime | None) -> float | None:
    return None if moment is None else round((moment - origin.wall).total_seconds(), 3)


def said(accounts: Sequence[Account]) -> dict[str, int]:
    counted = Counter(
        f"{refusal.status} {refusal.reason}" for account in accounts for refusal in account.sample.refusals
    )
    return dict(counted.most_common())
