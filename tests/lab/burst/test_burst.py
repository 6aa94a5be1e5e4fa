"""Report of a burst comparison: figures, checks that can fail, tables and page."""

import msgspec
import pytest
from rich.console import Console

from prebook.lab.burst import table, terminal
from prebook.lab.burst.capacity import capacity
from prebook.lab.burst.figures import bin_by_second, figures
from prebook.lab.burst.judge import build_report
from prebook.lab.burst.line_chart import axis_max
from prebook.lab.burst.model import BurstSide, RideRecord
from prebook.lab.burst.page import render_page
from prebook.lab.load.samples import OUT_OF_DESCRIPTORS
from prebook.lab.report.model import LoadLevel
from tests.lab.burst.bursts import (
    DURATION_S,
    MEMORY_MB,
    bounded_side,
    overloaded_side,
    refused_ride,
    ride,
    snapshot,
    with_memory,
)


def failed_checks(*sides: BurstSide) -> list[tuple[str, str]]:
    return [(check.side, check.name) for check in build_report(sides).verdict.checks if check.ok is False]


def test_a_bounded_side_passes_together_with_an_overloaded_one() -> None:
    report = build_report((bounded_side(), overloaded_side()))

    assert report.verdict.ok
    assert failed_checks(bounded_side(), overloaded_side()) == []
    assert (report.verdict.failed, report.verdict.not_measured) == (0, 0)
    assert report.verdict.headline == f"All {len(report.verdict.checks)} checks passed."


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"snapshots": tuple(snapshot(float(n), oldest_s=26.0) for n in range(20))}, "age of the oldest message"),
        ({"snapshots": tuple(snapshot(float(n), broker=400.0) for n in range(20))}, "memory of broker"),
        (
            {"snapshots": tuple(snapshot(float(n), broker=380.0, database=500.0, booking=150.0) for n in range(20))},
            "memory of the whole suite",
        ),
        ({"capacity_per_s": 11.0}, "goodput as a share of the capacity"),
        ({"rides": tuple(ride(n / 10, took_s=31.0) for n in range(200))}, "goodput as a share of the capacity"),
        ({"lag_p99_ms": 251.0}, "lag of the load generator, p99"),
        ({"clock_deviation_s": 0.2}, "deviation of the services' clocks"),
        ({"lost": 1}, "rides lost"),
        ({"duplicated": 1}, "rides duplicated"),
        ({"in_flight": 1}, "rides still in flight"),
    ],
)
def test_each_bound_can_fail(changes: dict[str, object], name: str) -> None:
    assert failed_checks(bounded_side(**changes)) == [("on", name)]


def test_a_ride_without_response_or_retry_after_fails() -> None:
    unanswered = msgspec.structs.replace(refused_ride(1.0), outcome="failed", refused_s=())
    without_retry_after = refused_ride(1.0, with_retry_after=False)

    assert failed_checks(bounded_side(rides=(*bounded_side().rides, unanswered))) == [
        ("on", "rides neither accepted nor refused")
    ]
    assert failed_checks(bounded_side(rides=(*bounded_side().rides, without_retry_after))) == [
        ("on", "rides refused without Retry-After")
    ]


@pytest.mark.parametrize("side", [bounded_side(), overloaded_side()], ids=["on", "off"])
def test_a_generator_without_descriptors_fails_both_sides(side: BurstSide) -> None:
    unsent = RideRecord(label="one_way", offered_s=1.0, outcome="failed", failure=f"{OUT_OF_DESCRIPTORS} OSError")
    failed = failed_checks(msgspec.structs.replace(side, rides=(*side.rides, unsent)))
    assert (side.back_pressure, "requests without a file descriptor; raise `ulimit -n`") in failed


def test_every_kind_of_unanswered_ride_and_of_silent_refusal_is_named() -> None:
    unanswered = msgspec.structs.replace(refused_ride(1.0), outcome="failed", refused_s=())
    failures = ["timeout TimeoutError", "http_409 request_in_progress", "timeout TimeoutError"]
    silent = msgspec.structs.replace(
        refused_ride(1.0, with_retry_after=False), without_retry_after=("503 no_problem_document",)
    )
    rides = (
        *bounded_side().rides,
        *(msgspec.structs.replace(unanswered, failure=failure) for failure in failures),
        silent,
    )
    report = build_report((bounded_side(rides=rides),))

    assert "3 (2 timeout TimeoutError, 1 http_409 request_in_progress)" in report.verdict.headline
    assert "1 (1 503 no_problem_document)" in report.verdict.headline


def test_retry_after_times_that_are_too_short_fail() -> None:
    retried = tuple(refused_ride(n / 10, accepted_on_first_retry=n % 5 == 0) for n in range(100))

    assert failed_checks(bounded_side(rides=(*bounded_side().rides, *retried))) == [
        ("on", "share of riders accepted on the first retry")
    ]


def test_an_overloaded_side_without_growth_fails() -> None:
    without_growth = bounded_side(back_pressure="off")

    assert [side for side, _ in failed_checks(bounded_side(), without_growth)] == ["off", "off"]


def test_the_total_memory_sums_the_latest_reading_of_each_process() -> None:
    without_database = snapshot(1.0, broker=300.0, booking=90.0, unread={"database"})
    without_booking = snapshot(2.0, broker=140.0, database=210.0, unread={"booking"})
    measured = figures(bounded_side(snapshots=(snapshot(0.0), without_database, without_booking)))

    assert (measured.memory_total_mb, measured.memory_growth_mb) == (690.0, 190.0)
    assert measured.memory_mb == {**MEMORY_MB, "broker": 300.0, "database": 210.0, "booking": 90.0}


def test_the_figures_of_an_overloaded_side() -> None:
    measured = figures(overloaded_side())

    assert measured.oldest_age_slope == pytest.approx(0.9, abs=0.01)
    assert measured.backlog_slope == pytest.approx(40.0, abs=0.1)
    assert measured.oldest_age_at_end_s == pytest.approx(0.9 * DURATION_S)
    assert measured.backlog_at_end == 40 * DURATION_S
    assert measured.late == sum(n / 25 > 30.0 for n in range(1000))
    assert measured.goodput_per_s == pytest.approx(
        sum(n / 50 + n / 25 < DURATION_S for n in range(1000)) / DURATION_S, abs=0.01
    )


def test_retries_are_counted_by_the_attempt_that_was_accepted() -> None:
    on_first = msgspec.structs.replace(ride(1.0), refused_s=(0.5,), retries=1, accepted_on_first_retry=True)
    on_second = msgspec.structs.replace(ride(1.0), refused_s=(0.2, 0.6), retries=2, accepted_on_first_retry=False)
    measured = figures(
        bounded_side(
            rides=(*bounded_side().rides, on_first, on_second, refused_ride(1.0, accepted_on_first_retry=False))
        )
    )

    assert (measured.retried, measured.accepted_on_first_retry, measured.accepted_on_any_retry) == (3, 1, 2)


def test_the_capacity_is_the_best_rate_of_all_levels() -> None:
    rates = ((12.0, 12.1), (18.0, 17.5), (27.0, 16.0))

    assert (
        capacity(
            [LoadLevel(offered_per_s=offered, settled_per_s=settled, duration_s=8.0) for offered, settled in rates]
        )
        == 17.5
    )


def test_the_sustained_rate_counts_more_than_that_of_a_short_level() -> None:
    short = LoadLevel(offered_per_s=18.0, settled_per_s=18.0, duration_s=8.0)
    sustained = LoadLevel(offered_per_s=18.0, settled_per_s=14.0, duration_s=40.0)

    assert capacity([short, sustained]) == 14.0


def test_moments_are_counted_per_second_and_ignored_outside() -> None:
    assert bin_by_second([0.0, 0.9, 1.0, None, -1.0, 3.0], 3) == (2, 1, 0)


def test_the_axis_of_a_chart_ends_at_a_round_number() -> None:
    assert [axis_max([value]) for value in (0.2, 1.0, 3.0, 47.0, 120.0, 501.0)] == [1.0, 1.0, 5.0, 50.0, 200.0, 1000.0]


def test_table_and_page_show_the_same_figures_of_both_sides() -> None:
    report = build_report((bounded_side(), overloaded_side()))
    console = Console(width=170, record=True, file=None, quiet=True)
    console.print(terminal.results_view(report))
    page = render_page(report)

    for name, *cells in table.side_rows(report):
        assert len(cells) == 2
        assert name.strip() in page
    assert "back pressure off" in page
    assert page.count("<svg") == 7 + len((*MEMORY_MB, "the whole suite"))
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert len(page) < 400_000
    assert {plan for plan, *_ in table.plan_rows(report)} == {"one_way", "sync_api"}


def test_every_process_and_the_whole_suite_are_shown_on_both_sides() -> None:
    report = build_report((bounded_side(), with_memory(overloaded_side(), {"pricing": 33.0, "booking-2": 44.0})))
    rows = {name.strip(): cells for name, *cells in table.side_rows(report)}

    for process in MEMORY_MB:
        assert rows[f"memory of {process}, peak"][0] == f"{MEMORY_MB[process]:.0f} MB"
    assert rows["memory of pricing, peak"][1] == "33 MB"
    assert rows["memory of booking-2, peak"] == ["not measured", "44 MB"]
    assert rows["memory of the whole suite, peak"] == ["500 MB", "557 MB"]


def test_the_page_has_a_chart_of_every_process_and_the_whole_suite() -> None:
    page = render_page(build_report((bounded_side(), overloaded_side())))

    for title in ("memory of the whole suite", *(f"memory of {process}" for process in MEMORY_MB)):
        assert f"<title>{title} by second</title>" in page
    assert "on: not measured" not in page
    assert " on: not measured" in render_page(
        build_report((bounded_side(snapshots=(snapshot(0.0, unread={"fleets"}),)),))
    )


def test_a_report_survives_a_round_trip_through_json() -> None:
    report = build_report((bounded_side(), overloaded_side()))

    assert msgspec.json.decode(msgspec.json.encode(report), type=type(report)) == report
