"""Whether back pressure did what it is for, check by check. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

import msgspec

from prebook.flows import PROCESSES
from prebook.lab.burst.figures import BurstFigures, figures
from prebook.lab.burst.memory_report import expected_and_seen
from prebook.lab.burst.model import BurstSide
from prebook.lab.load.generator import MAX_LAG_MS

MAX_OLDEST_AGE_S = 25.0
"""With back pressure on no message grows older: two thirds of a question's deadline of 30 s, at which booking shuts its
door, and a quarter more for what is let in until it is noticed."""
MAX_MEMORY_MB: Mapping[str, float] = {"broker": 384, "database": 512, **dict.fromkeys(PROCESSES, 192)}
"""As much as docker-compose.yml gives each of them."""
MAX_TOTAL_MEMORY_MB = 1024
"""All of them together."""
MIN_GOODPUT_SHARE = 0.9
MIN_RETRY_SUCCESS_SHARE = 0.5
"""Of those who come back at the time that they were told, more than half get in at once."""
MIN_GROWTH = 0.1
"""Seconds older each second, or questions more each second as a share of what is offered: that is growth."""
MIN_COVERAGE = 0.9
"""Less than this share of the burst's seconds, and a bound is not measured: age rises by no more than a second each
second, so what six of sixty hide is six seconds at most; and a process that ended is not seen again."""
MIN_SLOPE_COVERAGE = 0.3
"""The same for what grows: a line needs no more points than that, and a flooded database may need 2 s for each look,
and be waited for in vain now and then.
"""
NOT_MEASURED = "not measured"


class BurstCheck(msgspec.Struct, frozen=True, kw_only=True):
    side: str
    name: str
    value: str
    limit: str
    ok: bool | None
    """None: it was not measured."""
    due: bool = True
    """False: it cannot be known yet, and that is no fault."""


class BurstVerdict(msgspec.Struct, frozen=True, kw_only=True):
    ok: bool
    """Every check that is due was measured, and passed."""
    headline: str
    failed: int = 0
    not_measured: int = 0
    checks: tuple[BurstCheck, ...]


class BurstReport(msgspec.Struct, frozen=True, kw_only=True):
    """Both sides, or one of them."""

    schema: str = "prebook.burst-report/1"
    seed: int
    capacity_per_s: float
    factor: float
    duration_s: float
    figures: tuple[BurstFigures, ...]
    verdict: BurstVerdict
    sides: tuple[BurstSide, ...]


def build_report(sides: tuple[BurstSide, ...]) -> BurstReport:
    """``sides`` is not empty."""
    found = tuple(map(figures, sides))
    checks = tuple(check for side, seen in zip(sides, found, strict=True) for check in CHECKS[side.back_pressure](seen))
    return BurstReport(
        seed=sides[0].seed,
        capacity_per_s=sides[0].capacity_per_s,
        factor=sides[0].factor,
        duration_s=sides[0].duration_s,
        figures=found,
        verdict=verdict(checks),
        sides=sides,
    )


def verdict(checks: tuple[BurstCheck, ...]) -> BurstVerdict:
    failed = [check for check in checks if check.ok is False]
    unseen = [check for check in checks if check.ok is None and check.due]
    return BurstVerdict(
        ok=not failed and not unseen,
        headline=headline(checks, failed, unseen),
        failed=len(failed),
        not_measured=len(unseen),
        checks=checks,
    )


def headline(checks: Sequence[BurstCheck], failed: Sequence[BurstCheck], not_measured: Sequence[BurstCheck]) -> str:
    early = [check for check in checks if not check.due]
    of = len(checks) - len(early)
    wrong = [f"back pressure {check.side}: {check.name} is {check.value}" for check in failed]
    said = [f"{len(wrong)} of {of} checks failed: {'; '.join(wrong)}."] if wrong else []
    said += [f"{len(not_measured)} of {of} checks not measured: {text_by_side(not_measured)}."] if not_measured else []
    said = said or [f"All {of} checks passed."]
    return " ".join([*said, f"Not due yet: {text_by_side(early)}."] if early else said)


def text_by_side(checks: Iterable[BurstCheck]) -> str:
    sides = groupby(checks, key=lambda check: check.side)
    return "; ".join(f"back pressure {side}: {', '.join(check.name for check in of)}" for side, of in sides)


def checks_with_back_pressure(measured: BurstFigures) -> Iterator[BurstCheck]:
    """With back pressure on: what must stay within its bounds."""
    yield generator_lag_check(measured)
    yield at_most_check(
        measured,
        "age of the oldest message",
        measured.oldest_age_s,
        MAX_OLDEST_AGE_S,
        " s",
        coverage=measured.backlog_coverage,
    )
    for process in expected_and_seen(measured.memory_mb):
        used = measured.memory_mb.get(process)
        looks = measured.memory_coverage.get(process, 0.0)
        yield at_most_check(measured, f"memory of {process}", used, max_memory_mb(process), " MB", coverage=looks)
    whole = measured.memory_total_mb
    looks = measured.memory_total_coverage
    yield at_most_check(measured, "memory of the whole suite", whole, MAX_TOTAL_MEMORY_MB, " MB", coverage=looks)
    yield at_least_check(measured, "goodput, of capacity", measured.goodput_share, MIN_GOODPUT_SHARE)
    yield zero_check(measured, "rides turned away without a word", measured.request_errors)
    yield zero_check(measured, "riders refused without Retry-After", measured.refusals_without_retry_after)
    yield zero_check(measured, "rides lost", measured.lost)
    yield zero_check(measured, "rides doubled", measured.duplicated)
    yield zero_check(measured, "rides still in flight", measured.in_flight)
    if measured.retried:
        yield at_least_check(
            measured,
            "got in when told to come back",
            measured.accepted_on_first_retry / measured.retried,
            MIN_RETRY_SUCCESS_SHARE,
        )


def max_memory_mb(process: str) -> float:
    """That of ``broker`` for ``broker-2``."""
    return MAX_MEMORY_MB.get(process.partition("-")[0], MAX_MEMORY_MB["booking"])


def checks_without_back_pressure(measured: BurstFigures) -> Iterator[BurstCheck]:
    """With it off: that the same burst is more than the suite can hold, else nothing has been shown."""
    yield generator_lag_check(measured)
    per_s = measured.backlog_slope
    age = measured.oldest_age_slope
    looks = measured.backlog_coverage
    yield at_least_check(
        measured, "growth of the backlog", per_s, MIN_GROWTH * measured.offered_per_s, "/s", coverage=looks
    )
    yield at_least_check(measured, "growth of the oldest message's age, s each second", age, MIN_GROWTH, coverage=looks)
    yield lost_check(measured)
    yield zero_check(measured, "rides doubled", measured.duplicated)


def lost_check(measured: BurstFigures) -> BurstCheck:
    """What a flood has not told yet is no loss, if it was seen to be busy still."""
    if measured.at_rest:
        return zero_check(measured, "rides lost", measured.lost)
    why = "it did not come to rest" if measured.busy_at_end else "not measured: whether it came to rest was not seen"
    return BurstCheck(
        side=measured.back_pressure, name="rides lost", value=why, limit="0", ok=None, due=not measured.busy_at_end
    )


def generator_lag_check(measured: BurstFigures) -> BurstCheck:
    """A generator that is late offers something else than was said, and the result is refused."""
    lag_ms = measured.lag_p99_ms if measured.offered_per_s else None
    return at_most_check(measured, "lateness of the generator itself, p99", lag_ms, MAX_LAG_MS, " ms")


CHECKS = {"on": checks_with_back_pressure, "off": checks_without_back_pressure}


def at_most_check(
    measured: BurstFigures, name: str, value: float | None, limit: float, unit: str, *, coverage: float = 1.0
) -> BurstCheck:
    """``coverage``: share of the burst's seconds in which it was seen. One second above the limit is enough to fail."""
    ok = None if value is None or (value <= limit and coverage < MIN_COVERAGE) else value <= limit
    return check_of(measured, name, ok, value_text(value, unit), f"at most {limit:g}{unit}", coverage=coverage)


def at_least_check(
    measured: BurstFigures, name: str, value: float | None, limit: float, unit: str = "", *, coverage: float = 1.0
) -> BurstCheck:
    ok = None if value is None or coverage < MIN_SLOPE_COVERAGE else value >= limit
    return check_of(
        measured, name, ok, value_text(value, unit), f"at least {round(limit, 2):g}{unit}", coverage=coverage
    )


def check_of(
    measured: BurstFigures, name: str, ok: bool | None, value: str, limit: str, *, coverage: float
) -> BurstCheck:
    partly = ok is None and value != NOT_MEASURED
    text = f"{NOT_MEASURED}: {value}, but seen in {coverage:.0%} of the seconds only" if partly else value
    return BurstCheck(side=measured.back_pressure, name=name, value=text, limit=limit, ok=ok)


def zero_check(measured: BurstFigures, name: str, count: int) -> BurstCheck:
    return BurstCheck(side=measured.back_pressure, name=name, value=str(count), limit="0", ok=count == 0)


def value_text(value: float | None, unit: str) -> str:
    return NOT_MEASURED if value is None else f"{value:.2f}{unit}" if value < 10 else f"{value:.0f}{unit}"  # noqa: PLR2004
