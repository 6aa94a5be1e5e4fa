"""One side of the comparison: find the capacity or take it, then offer a multiple of it, and keep what was seen."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from prebook.lab.burst.capacity import capacity, run_levels
from prebook.lab.burst.load_runner import LoadResult, LoadRunner
from prebook.lab.burst.model import BurstSide, LoadLevel, RideRecord
from prebook.lab.ledger import discrepancies
from prebook.lab.ledger.accounts import RideAccount, RideOutcome
from prebook.lab.load.arrivals import ArrivalProcess, Arrivals
from prebook.lab.load.generator import ClockOrigin
from prebook.lab.load.retry_policy import RiderRetryPolicy
from prebook.lab.load.samples import RefusalSample
from prebook.lab.quantiles import latency_summary
from prebook.lab.report.model import read_machine
from prebook.lab.suite_client.settings import StackInfo


@dataclass(frozen=True)
class BurstOptions:
    back_pressure: str
    """As the suite was started: ``on`` or ``off``."""
    capacity_per_s: float | None
    """None: it is to be found."""
    factor: float
    duration_s: float
    retries: RiderRetryPolicy


async def run_side(
    runner: LoadRunner, options: BurstOptions, stack: StackInfo, log: Callable[[str], None]
) -> tuple[BurstSide, LoadResult]:
    """Raises SuiteUnreachable where the suite cannot be read at the end."""
    levels = await run_levels(runner, log) if options.capacity_per_s is None else ()
    known = options.capacity_per_s or capacity(levels)
    rate = known * options.factor
    log(f"burst: {rate:.0f} rides/s for {options.duration_s:.0f} s, back pressure {options.back_pressure}")
    began_at = datetime.now(UTC)
    offered = await runner.run_load(
        "burst", Arrivals(ArrivalProcess.POISSON, rate, options.duration_s), options.retries
    )
    return burst_side(
        runner, options, offered, capacity_per_s=known, levels=levels, stack=stack, started_at=began_at
    ), offered


def burst_side(
    runner: LoadRunner,
    options: BurstOptions,
    result: LoadResult,
    *,
    capacity_per_s: float,
    levels: tuple[LoadLevel, ...],
    stack: StackInfo,
    started_at: datetime,
) -> BurstSide:
    accounts = result.reconciliation.accounts
    found = [item.kind for item in result.reconciliation.discrepancies]
    lag = latency_summary(account.sample.lag_ms for account in accounts)
    return BurstSide(
        back_pressure=options.back_pressure,
        seed=runner.seed,
        capacity_per_s=round(capacity_per_s, 2),
        levels=levels,
        factor=options.factor,
        duration_s=options.duration_s,
        started_at=started_at,
        stack=stack,
        machine=read_machine(),
        lag_p99_ms=lag.p99,
        lag_max_ms=lag.max,
        snapshots=tuple(result.monitor.snapshots),
        rides=tuple(ride_record(account, result.origin) for account in accounts),
        refusals=count_refusals(accounts),
        lost=sum(kind in discrepancies.LOST_KINDS for kind in found),
        duplicated=sum(kind in discrepancies.DUPLICATED_KINDS for kind in found),
        in_flight=sum(account.outcome is RideOutcome.IN_FLIGHT for account in accounts),
        settle_s=round(result.settle_s, 2),
        at_rest=result.at_rest,
    )


def ride_record(account: RideAccount, origin: ClockOrigin) -> RideRecord:
    sample = account.sample
    row = account.row
    offered_s = round(origin.offset_s(sample.intended_at), 3)
    return RideRecord(
        label=sample.label,
        offered_s=offered_s,
        outcome=account.outcome.value,
        accepted_s=offset_s_or_none(origin, row.accepted_at) if row else None,
        settled_s=offset_s_or_none(origin, row.settled_at) if row else None,
        refused_s=tuple(round(offered_s + refusal.at_s, 3) for refusal in sample.refusals),
        retries=sample.retries,
        all_with_retry_after=all(refusal.retry_after_s is not None for refusal in sample.refusals),
        accepted_on_first_retry=is_accepted_on_first_retry(
            sample.refusals, refused=sample.refused, accepted=sample.accepted
        ),
    )


def is_accepted_on_first_retry(refusals: Sequence[RefusalSample], *, refused: bool, accepted: bool) -> bool | None:
    """Whether who came back when told got in at that visit; None where nobody came back a first time."""
    visits_back = len(refusals) - refused
    if not visits_back:
        return None
    return accepted and visits_back == 1


def offset_s_or_none(origin: ClockOrigin, moment: datetime | None) -> float | None:
    return None if moment is None else round(origin.offset_s(moment), 3)


def count_refusals(accounts: Sequence[RideAccount]) -> dict[str, int]:
    counted = Counter(
        f"{refusal.status} {refusal.reason}" for account in accounts for refusal in account.sample.refusals
    )
    return dict(counted.most_common())
