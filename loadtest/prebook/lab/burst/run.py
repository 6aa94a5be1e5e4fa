"""One side of a burst comparison: find the capacity unless given, offer a multiple of it, record the measurements."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from prebook.lab.burst.capacity import capacity, run_levels
from prebook.lab.burst.load_runner import LoadResult, LoadRunner
from prebook.lab.burst.model import BurstSide, RideRecord
from prebook.lab.ledger import discrepancies
from prebook.lab.ledger.accounts import RideAccount, RideOutcome
from prebook.lab.ledger.clock_deviation import clock_deviation_s
from prebook.lab.load.arrivals import ArrivalProcess, Arrivals
from prebook.lab.load.generator import ClockOrigin
from prebook.lab.load.retry_policy import RiderRetryPolicy
from prebook.lab.load.samples import RefusalSample, Sample
from prebook.lab.quantiles import latency_summary
from prebook.lab.report.model import LoadLevel, read_machine
from prebook.lab.suite_client.settings import StackInfo


@dataclass(frozen=True)
class BurstOptions:
    """Size of a burst, and the retry policy of its riders."""

    back_pressure: str
    """``on`` or ``off``, as the suite was started."""
    capacity_per_s: float | None
    """Rides that the suite settles per second; None to search for it."""
    factor: float
    """Offered rate as a multiple of the capacity."""
    duration_s: float
    retries: RiderRetryPolicy


async def run_side(
    runner: LoadRunner, options: BurstOptions, stack: StackInfo, log: Callable[[str], None]
) -> tuple[BurstSide, LoadResult]:
    """Run the burst and return its measurements and the result of the load run.

    ``log``: called with a line of text per step.

    Raises:
        SuiteUnreachable: The suite is not ready, or its services cannot be read after a load.
    """
    levels = await run_levels(runner, log) if options.capacity_per_s is None else ()
    capacity_per_s = options.capacity_per_s or capacity(levels)
    rate_per_s = capacity_per_s * options.factor
    log(f"burst: {rate_per_s:.0f} rides/s for {options.duration_s:.0f} s, back pressure {options.back_pressure}")
    started_at = datetime.now(UTC)
    arrivals = Arrivals(ArrivalProcess.POISSON, rate_per_s, options.duration_s)
    result = await runner.run_load("burst", arrivals, options.retries)
    side = burst_side(
        runner, options, result, capacity_per_s=capacity_per_s, levels=levels, stack=stack, started_at=started_at
    )
    return side, result


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
    """Return the measurements of a burst as they are written to a file."""
    accounts = result.reconciliation.accounts
    discrepancy_kinds = [discrepancy.kind for discrepancy in result.reconciliation.discrepancies]
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
        clock_deviation_s=round(clock_deviation_s(accounts), 3),
        snapshots=tuple(result.monitor.snapshots),
        rides=tuple(ride_record(account, result.origin) for account in accounts),
        refusals=count_refusals(accounts),
        lost=sum(kind in discrepancies.LOST_KINDS for kind in discrepancy_kinds),
        duplicated=sum(kind in discrepancies.DUPLICATED_KINDS for kind in discrepancy_kinds),
        in_flight=sum(account.outcome is RideOutcome.IN_FLIGHT for account in accounts),
        settle_s=round(result.settle_s, 2),
        at_rest=result.at_rest,
    )


def ride_record(account: RideAccount, origin: ClockOrigin) -> RideRecord:
    """Return the record of a ride with times relative to ``origin``."""
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
        failure=failure_text(sample),
        without_retry_after=tuple(
            f"{refusal.status} {refusal.reason}" for refusal in sample.refusals if refusal.retry_after_s is None
        ),
        retries=sample.retries,
        all_with_retry_after=all(refusal.retry_after_s is not None for refusal in sample.refusals),
        accepted_on_first_retry=is_accepted_on_first_retry(
            sample.refusals, refused=sample.refused, accepted=sample.accepted
        ),
    )


def failure_text(sample: Sample) -> str:
    """Return kind and reason of a last response that neither accepted nor refused the ride; empty otherwise."""
    return "" if sample.accepted or sample.refused else f"{sample.error_kind} {sample.reason}".strip()


def is_accepted_on_first_retry(refusals: Sequence[RefusalSample], *, refused: bool, accepted: bool) -> bool | None:
    """Return whether the first retry was accepted; None if the rider did not retry.

    ``refused``: whether the last response was a refusal, after which the rider gave up.
    """
    retries = len(refusals) - refused
    if not retries:
        return None
    return accepted and retries == 1


def offset_s_or_none(origin: ClockOrigin, moment: datetime | None) -> float | None:
    """Return the seconds from ``origin`` to ``moment``, in milliseconds precision, or None."""
    return None if moment is None else round(origin.offset_s(moment), 3)


def count_refusals(accounts: Sequence[RideAccount]) -> dict[str, int]:
    """Return the number of refusals by status and reason, most frequent first."""
    counted = Counter(
        f"{refusal.status} {refusal.reason}" for account in accounts for refusal in account.sample.refusals
    )
    return dict(counted.most_common())
