"""Missing readings of a burst: a check without them neither passes nor fails, and is reported separately."""

from collections.abc import Callable, Container
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from prebook.lab.burst import table, terminal
from prebook.lab.burst.command import judge
from prebook.lab.burst.judge import BurstCheck, BurstReport, build_report
from prebook.lab.burst.memory_report import EXPECTED_PROCESSES
from prebook.lab.burst.model import BurstSide, SuiteSnapshot
from prebook.lab.burst.page import render_page
from prebook.lab.burst.series import FINAL_WINDOW_S
from tests.lab.burst.bursts import DURATION_S, bounded_side, overloaded_side, snapshot, with_memory

AGE = "age of the oldest message"
WHOLE = "memory of the whole suite"
GROWTH = ["growth of the backlog", "growth of the oldest message's age, s per s"]
MEMORY = [f"memory of {process}" for process in EXPECTED_PROCESSES]


def not_measured(report: BurstReport) -> list[str]:
    return [check.name for check in report.verdict.checks if check.ok is None and check.due]


def check_named(report: BurstReport, name: str) -> BurstCheck:
    return next(check for check in report.verdict.checks if check.name == name)


def with_snapshots_changed(side: BurstSide, selects: Callable[[SuiteSnapshot], bool], **changes: object) -> BurstSide:
    """Change the selected snapshots of ``side``."""
    snapshots = [msgspec.structs.replace(taken, **changes) if selects(taken) else taken for taken in side.snapshots]
    return msgspec.structs.replace(side, snapshots=tuple(snapshots))


def without_backlog(side: BurstSide, selects: Callable[[SuiteSnapshot], bool]) -> BurstSide:
    """Remove the backlog reading from the selected snapshots of ``side``."""
    return with_snapshots_changed(
        side,
        selects,
        pending_requests=None,
        pending_oldest_s=None,
        outbox_rows=None,
        outbox_oldest_s=None,
        oldest_outbox="",
    )


def without_memory(unread_at: Callable[[int], Container[str]]) -> BurstSide:
    """Return a side in which the memory of the processes ``unread_at(second)`` has no reading."""
    return bounded_side(snapshots=tuple(snapshot(float(n), unread=unread_at(n)) for n in range(DURATION_S + 5)))


def test_a_side_without_snapshots_does_not_pass() -> None:
    report = build_report((bounded_side(snapshots=()),))

    assert not report.verdict.ok
    assert not_measured(report) == [AGE, *MEMORY, WHOLE]
    assert (report.verdict.failed, report.verdict.not_measured) == (0, 10)
    assert report.verdict.headline.startswith(
        f"10 of {len(report.verdict.checks)} checks not measured: back pressure on: "
    )


def test_a_check_without_reading_is_not_measured_and_does_not_pass() -> None:
    report = build_report((without_backlog(bounded_side(), lambda _: True),))

    assert not report.verdict.ok
    assert not_measured(report) == [AGE]
    assert [check for check in report.verdict.checks if check.ok is False] == []
    assert table.check_mark(check_named(report, AGE)) == "not measured"
    assert '<td class="nil">not measured</td>' in render_page(report)
    assert ">failed<" in render_page(report)
    assert (
        f"not measured: back pressure on, {AGE}: not measured (at most 25 s)"
        in terminal.verdict_text(report.verdict).plain
    )


def test_the_headline_counts_failed_and_unmeasured_checks_separately() -> None:
    report = build_report(
        (without_backlog(bounded_side(lost=2), lambda _: True), without_backlog(overloaded_side(), lambda _: True))
    )

    assert (report.verdict.failed, report.verdict.not_measured) == (1, 3)
    assert report.verdict.headline == (
        "1 of 26 checks failed: back pressure on: rides lost is 2. "
        f"3 of 26 checks not measured: back pressure on: {AGE}; back pressure off: {', '.join(GROWTH)}."
    )


@pytest.mark.parametrize(("missing", "names"), [(2, []), (3, [AGE])])
def test_the_age_needs_readings_in_nine_tenths_of_the_seconds(missing: int, names: list[str]) -> None:
    report = build_report((without_backlog(bounded_side(), lambda taken: 5 <= taken.at_s < 5 + missing),))

    assert not_measured(report) == names
    assert report.verdict.ok == (not names)


def test_skipped_seconds_lower_the_coverage_and_seconds_after_the_burst_do_not_count() -> None:
    sparse = [taken for taken in bounded_side().snapshots if taken.at_s % 3 or taken.at_s >= DURATION_S]
    report = build_report((bounded_side(snapshots=tuple(sparse)),))

    assert not_measured(report) == [AGE, *(name for name in MEMORY if name != "memory of database"), WHOLE]
    assert check_named(report, AGE).value == "not measured: 2.00 s, but read in only 65% of the seconds"


def test_one_reading_above_the_limit_fails_at_any_coverage() -> None:
    report = build_report((bounded_side(snapshots=(snapshot(3.0, oldest_s=26.0, broker=400.0),)),))

    assert [check.name for check in report.verdict.checks if check.ok is False] == [AGE, "memory of broker"]


def test_growth_needs_readings_in_three_tenths_of_the_seconds() -> None:
    sparse, sparser = (without_backlog(overloaded_side(), lambda taken, n=n: bool(taken.at_s % n)) for n in (3, 4))  # type: ignore[misc]

    assert not_measured(build_report((sparse,))) == []
    assert not_measured(build_report((sparser,))) == GROWTH
    assert not build_report((sparser,)).verdict.ok


@pytest.mark.parametrize("process", EXPECTED_PROCESSES)
def test_the_memory_of_each_process_needs_readings(process: str) -> None:
    report = build_report((without_memory(lambda _: {process}),))

    assert not_measured(report) == [f"memory of {process}", WHOLE]
    assert not report.verdict.ok


def test_a_process_that_ends_during_the_burst_is_not_measured() -> None:
    report = build_report((without_memory(lambda n: {"pricing"} if n > DURATION_S / 2 else ()),))

    assert not_measured(report) == ["memory of pricing", WHOLE]
    assert check_named(report, WHOLE).value.startswith("not measured: 500 MB")


def test_one_reading_of_the_databases_memory_in_five_seconds_is_enough() -> None:
    assert build_report((without_memory(lambda n: {"database"} if n % 5 else ()),)).verdict.ok
    assert not_measured(build_report((without_memory(lambda n: {"database"} if n % 10 else ()),))) == [
        "memory of database",
        WHOLE,
    ]


def test_replicas_have_the_memory_limit_of_their_process() -> None:
    report = build_report((with_memory(bounded_side(), {"broker-2": 300.0, "booking-2": 193.0}),))

    assert [check.name for check in report.verdict.checks if check.ok is False][:1] == ["memory of booking-2"]
    assert check_named(report, "memory of broker-2").ok


def test_without_load_the_lag_of_the_generator_is_not_measured() -> None:
    assert "lag of the load generator, p99" in not_measured(build_report((bounded_side(rides=(), lag_p99_ms=0.0),)))


def test_missing_notices_are_not_due_while_the_backlog_is_not_empty() -> None:
    with_backlog = build_report((msgspec.structs.replace(overloaded_side(), lost=3, at_rest=False),))
    at_rest = build_report((msgspec.structs.replace(overloaded_side(), lost=3),))

    assert [check.name for check in at_rest.verdict.checks if check.ok is False] == ["rides lost"]
    assert with_backlog.verdict.ok
    assert table.check_mark(check_named(with_backlog, "rides lost")) == "not due yet"
    assert with_backlog.verdict.headline == "All 6 checks passed. Not due yet: back pressure off: rides lost."


def test_missing_notices_are_due_if_no_backlog_was_read() -> None:
    unread = with_snapshots_changed(overloaded_side(), lambda _: True, queued=None)
    unread = with_snapshots_changed(unread, lambda taken: taken.at_s == DURATION_S, pending_requests=0, outbox_rows=0)

    assert not_measured(build_report((msgspec.structs.replace(unread, at_rest=False),))) == ["rides lost"]


def test_missing_notices_are_due_if_the_last_backlog_was_read_long_before_the_end() -> None:
    unread_at_end = with_snapshots_changed(
        overloaded_side(),
        lambda taken: taken.at_s > DURATION_S - 2 * FINAL_WINDOW_S,
        queued=None,
        pending_requests=None,
        outbox_rows=None,
    )

    assert "rides lost" in not_measured(build_report((msgspec.structs.replace(unread_at_end, at_rest=False),)))


def test_links_without_readings_are_not_measured() -> None:
    texts = [text for _, text in table.link_rows(build_report((bounded_side(snapshots=()),)))]

    assert texts[0] == "queues: not measured"
    assert texts[2:4] == ["outboxes: not measured", "admission control, loads as a share of their limits: not measured"]


@pytest.mark.parametrize(
    ("side", "status"),
    [(bounded_side(), 0), (overloaded_side(), 0), (bounded_side(lost=1), 1), (bounded_side(snapshots=()), 1)],
    ids=["bounded", "overloaded", "failed", "not measured"],
)
def test_the_exit_status_follows_the_verdict(side: BurstSide, status: int, tmp_path: Path) -> None:
    (tmp_path / f"{side.back_pressure}.json").write_bytes(msgspec.json.encode(side))
    result = CliRunner().invoke(judge, [str(tmp_path), "--json"])

    assert result.exit_code == status
    assert msgspec.json.decode((tmp_path / "report.json").read_bytes(), type=BurstReport).verdict.ok == (not status)


def test_a_report_without_the_coverage_fields_can_be_read() -> None:
    added = {
        "due",
        "failed",
        "not_measured",
        "busy_at_end",
        "backlog_coverage",
        "memory_coverage",
        "memory_total_coverage",
    }

    def without_added(value: object) -> object:
        if isinstance(value, dict):
            return {key: without_added(item) for key, item in value.items() if key not in added}
        return [without_added(item) for item in value] if isinstance(value, list) else value

    report = build_report((bounded_side(), overloaded_side()))
    old = without_added(msgspec.json.decode(msgspec.json.encode(report)))

    assert msgspec.json.decode(msgspec.json.encode(old), type=BurstReport).verdict.headline == report.verdict.headline
