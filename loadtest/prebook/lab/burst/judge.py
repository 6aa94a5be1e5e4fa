"""Verdict on a burst comparison: checks of each side against its bounds. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

import msgspec

from prebook.flows import PROCESSES
from prebook.lab.burst.figures import BurstFigures, figures
from prebook.lab.burst.memory_report import expected_and_seen
from prebook.lab.burst.model import BurstSide
from prebook.lab.ledger.clock_deviation import MAX_CLOCK_DEVIATION_S
from prebook.lab.load.generator import MAX_LAG_MS
from prebook.lab.report.overload_law import MIN_RETRY_SUCCESS_SHARE

MAX_OLDEST_AGE_S = 25.0
"""Maximum age of a message with back pressure on. Booking refuses at two thirds of a request's deadline of 30 s; a
quarter more allows for rides that it accepts until it measures that age."""
MAX_MEMORY_MB: Mapping[str, float] = {"broker": 384, "database": 512, **dict.fromkeys(PROCESSES, 192)}
"""Memory limit of each process, as in docker-compose.yml."""
MAX_TOTAL_MEMORY_MB = 1024
"""Memory limit of all processes together."""
MIN_GOODPUT_SHARE = 0.9
"""Minimum goodput with back pressure on, as a share of the capacity."""
MIN_GROWTH = 0.1
"""Minimum slope that counts as growth: seconds of age per second, or pending requests per offered ride."""
MIN_COVERAGE = 0.9
"""Minimum share of the burst's seconds with a reading, below which a bound is not measured. Age grows by at most one
second per second, so 6 unread of 60 seconds hide at most 6 s; a process that ended is not read again."""
MIN_SLOPE_COVERAGE = 0.3
"""The same share for a slope, which needs fewer points: an overloaded database may take 2 s for a reading."""
NOT_MEASURED = "not measured"
NO_KINDS: Mapping[str, int] = {}


class BurstCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One check of one side, as text for the report."""

    side: str
    """``on`` or ``off``."""
    name: str
    value: str
    limit: str
    ok: bool | None
    """Whether the check passed; null if it was not measured."""
    due: bool = True
    """Whether the value can be known already; false for losses while the backlog is not empty."""


class BurstVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Result of all checks."""

    ok: bool
    """Whether every check that is due was measured and passed."""
    headline: str
    failed: int = 0
    not_measured: int = 0
    checks: tuple[BurstCheck, ...]


class BurstReport(msgspec.Struct, frozen=True, kw_only=True):
    """Report of a burst comparison, with one side or both."""

    schema: str = "prebook.burst-report/1"
    seed: int
    capacity_per_s: float
    factor: float
    duration_s: float
    figures: tuple[BurstFigures, ...]
    verdict: BurstVerdict
    sides: tuple[BurstSide, ...]


def build_report(sides: tuple[BurstSide, ...]) -> BurstReport:
    """Return figures and verdict of ``sides``, of which there is at least one."""
    side_figures = tuple(map(figures, sides))
    checks = tuple(check for measured in side_figures for check in CHECKS[measured.back_pressure](measured))
    return BurstReport(
        seed=sides[0].seed,
        capacity_per_s=sides[0].capacity_per_s,
        factor=sides[0].factor,
        duration_s=sides[0].duration_s,
        figures=side_figures,
        verdict=verdict(checks),
        sides=sides,
    )


def verdict(checks: tuple[BurstCheck, ...]) -> BurstVerdict:
    """Return the verdict that ``checks`` amount to."""
    failed = [check for check in checks if check.ok is False]
    not_measured = [check for check in checks if check.ok is None and check.due]
    return BurstVerdict(
        ok=not failed and not not_measured,
        headline=headline(checks, failed, not_measured),
        failed=len(failed),
        not_measured=len(not_measured),
        checks=checks,
    )


def headline(checks: Sequence[BurstCheck], failed: Sequence[BurstCheck], not_measured: Sequence[BurstCheck]) -> str:
    """Return the verdict in one sentence per kind of result: failed, not measured, not due yet."""
    not_due = [check for check in checks if not check.due]
    due = len(checks) - len(not_due)
    failures = [f"back pressure {check.side}: {check.name} is {check.value}" for check in failed]
    sentences = []
    if failures:
        sentences.append(f"{len(failures)} of {due} checks failed: {'; '.join(failures)}.")
    if not_measured:
        sentences.append(f"{len(not_measured)} of {due} checks not measured: {text_by_side(not_measured)}.")
    if not sentences:
        sentences.append(f"All {due} checks passed.")
    if not_due:
        sentences.append(f"Not due yet: {text_by_side(not_due)}.")
    return " ".join(sentences)


def text_by_side(checks: Iterable[BurstCheck]) -> str:
    """Return the names of ``checks``, grouped by side."""
    sides = groupby(checks, key=lambda check: check.side)
    return "; ".join(f"back pressure {side}: {', '.join(check.name for check in group)}" for side, group in sides)


def checks_with_back_pressure(measured: BurstFigures) -> Iterator[BurstCheck]:
    """Yield the checks with back pressure on: age, memory, goodput and refusals stay within their bounds."""
    yield from generator_checks(measured)
    yield at_most_check(
        measured,
        "age of the oldest message",
        measured.oldest_age_s,
        MAX_OLDEST_AGE_S,
        " s",
        coverage=measured.backlog_coverage,
    )
    for process in expected_and_seen(measured.memory_mb):
        peak_mb = measured.memory_mb.get(process)
        coverage = measured.memory_coverage.get(process, 0.0)
        yield at_most_check(measured, f"memory of {process}", peak_mb, max_memory_mb(process), " MB", coverage=coverage)
    yield at_most_check(
        measured,
        "memory of the whole suite",
        measured.memory_total_mb,
        MAX_TOTAL_MEMORY_MB,
        " MB",
        coverage=measured.memory_total_coverage,
    )
    yield at_least_check(measured, "goodput as a share of the capacity", measured.goodput_share, MIN_GOODPUT_SHARE)
    yield zero_check(
        measured, "rides neither accepted nor refused", measured.request_errors, measured.request_error_kinds
    )
    yield zero_check(
        measured,
        "rides refused without Retry-After",
        measured.refusals_without_retry_after,
        measured.refusal_kinds_without_retry_after,
    )
    yield zero_check(measured, "rides lost", measured.lost)
    yield zero_check(measured, "rides duplicated", measured.duplicated)
    yield zero_check(measured, "rides still in flight", measured.in_flight)
    if measured.retried:
        yield at_least_check(
            measured,
            "share of riders accepted on the first retry",
            measured.accepted_on_first_retry / measured.retried,
            MIN_RETRY_SUCCESS_SHARE,
        )


def max_memory_mb(process: str) -> float:
    """Return the memory limit of ``process``; replicas and nodes such as ``broker-2`` have the limit of ``broker``."""
    return MAX_MEMORY_MB.get(process.partition("-")[0], MAX_MEMORY_MB["booking"])


def checks_without_back_pressure(measured: BurstFigures) -> Iterator[BurstCheck]:
    """Yield the checks with back pressure off: the same burst overloads the suite, otherwise the comparison is void."""
    yield from generator_checks(measured)
    coverage = measured.backlog_coverage
    min_backlog_slope = MIN_GROWTH * measured.offered_per_s
    yield at_least_check(
        measured, "growth of the backlog", measured.backlog_slope, min_backlog_slope, "/s", coverage=coverage
    )
    yield at_least_check(
        measured,
        "growth of the oldest message's age, s per s",
        measured.oldest_age_slope,
        MIN_GROWTH,
        coverage=coverage,
    )
    yield lost_check(measured)
    yield zero_check(measured, "rides duplicated", measured.duplicated)


def lost_check(measured: BurstFigures) -> BurstCheck:
    """Return the check for lost rides; it is not due while the suite is known to have a backlog."""
    if measured.at_rest:
        return zero_check(measured, "rides lost", measured.lost)
    reason = "the backlog is not empty" if measured.busy_at_end else "not measured: the backlog at the end is unknown"
    return BurstCheck(
        side=measured.back_pressure, name="rides lost", value=reason, limit="0", ok=None, due=not measured.busy_at_end
    )


def generator_checks(measured: BurstFigures) -> Iterator[BurstCheck]:
    """Yield the checks of the load generator.

    A late one offers another load, as does one without file descriptors; a wrong clock gives wrong latencies.
    """
    was_used = measured.offered_per_s > 0
    lag_ms = measured.lag_p99_ms if was_used else None
    yield at_most_check(measured, "lag of the load generator, p99", lag_ms, MAX_LAG_MS, " ms")
    deviation_s = measured.clock_deviation_s if was_used else None
    yield at_most_check(measured, "deviation of the services' clocks", deviation_s, MAX_CLOCK_DEVIATION_S, " s")
    yield zero_check(measured, "requests without a file descriptor; raise `ulimit -n`", measured.unsent)


CHECKS = {"on": checks_with_back_pressure, "off": checks_without_back_pressure}


def at_most_check(
    measured: BurstFigures, name: str, value: float | None, limit: float, unit: str, *, coverage: float = 1.0
) -> BurstCheck:
    """Return the check that a maximum is within ``limit``.

    ``coverage``: share of the burst's seconds with a reading. A reading above the limit fails whatever the coverage.
    """
    ok = None if value is None or (value <= limit and coverage < MIN_COVERAGE) else value <= limit
    return check_of(measured, name, ok, value_text(value, unit), f"at most {limit:g}{unit}", coverage=coverage)


def at_least_check(
    measured: BurstFigures, name: str, value: float | None, limit: float, unit: str = "", *, coverage: float = 1.0
) -> BurstCheck:
    """Return the check that a value reaches ``limit``. ``coverage``: share of the burst's seconds with a reading."""
    ok = None if value is None or coverage < MIN_SLOPE_COVERAGE else value >= limit
    return check_of(
        measured, name, ok, value_text(value, unit), f"at least {round(limit, 2):g}{unit}", coverage=coverage
    )


def check_of(
    measured: BurstFigures, name: str, ok: bool | None, value: str, limit: str, *, coverage: float
) -> BurstCheck:
    """Return a check; a value whose coverage was too low for a result is shown with the coverage."""
    low_coverage = ok is None and value != NOT_MEASURED
    text = f"{NOT_MEASURED}: {value}, but read in only {coverage:.0%} of the seconds" if low_coverage else value
    return BurstCheck(side=measured.back_pressure, name=name, value=text, limit=limit, ok=ok)


def zero_check(measured: BurstFigures, name: str, count: int, kinds: Mapping[str, int] = NO_KINDS) -> BurstCheck:
    """Return the check that ``count`` is 0. ``kinds``: what was counted, by name, for the text of a failed check."""
    named = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
    value = f"{count} ({named})" if named else str(count)
    return BurstCheck(side=measured.back_pressure, name=name, value=value, limit="0", ok=count == 0)


def value_text(value: float | None, unit: str) -> str:
    """Return ``value`` with its unit, with two decimals below 10."""
    return NOT_MEASURED if value is None else f"{value:.2f}{unit}" if value < 10 else f"{value:.0f}{unit}"  # noqa: PLR2004
