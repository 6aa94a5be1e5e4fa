"""What was not seen of a burst: it is not passed, not failed either, and said apart from both."""

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
from tests.lab.burst.bursts import LASTS_S, beside, flooded, held, second

AGE = "age of the oldest message"
WHOLE = "memory of the whole suite"
GROWTH = ["growth of the backlog", "growth of the oldest message's age, s each second"]
MEMORY = [f"memory of {process}" for process in EXPECTED_PROCESSES]


def unseen(made: BurstReport) -> list[str]:
    return [check.name for check in made.verdict.checks if check.ok is None and check.due]


def named(made: BurstReport, name: str) -> BurstCheck:
    return next(check for check in made.verdict.checks if check.name == name)


def where(side: BurstSide, then: Callable[[SuiteSnapshot], bool], **changes: object) -> BurstSide:
    """With these seconds changed."""
    seconds = [msgspec.structs.replace(each, **changes) if then(each) else each for each in side.snapshots]
    return msgspec.structs.replace(side, snapshots=tuple(seconds))


def no_table(side: BurstSide, then: Callable[[SuiteSnapshot], bool]) -> BurstSide:
    return where(
        side,
        then,
        pending_requests=None,
        pending_oldest_s=None,
        outbox_rows=None,
        outbox_oldest_s=None,
        oldest_outbox="",
    )


def memory_unseen(at: Callable[[int], Container[str]]) -> BurstSide:
    return held(snapshots=tuple(second(float(n), unseen=at(n)) for n in range(LASTS_S + 5)))


def test_a_side_that_nothing_was_seen_of_does_not_hold() -> None:
    made = build_report((held(snapshots=()),))

    assert not made.verdict.ok
    assert unseen(made) == [AGE, *MEMORY, WHOLE]
    assert (made.verdict.failed, made.verdict.not_measured) == (0, 10)
    assert made.verdict.headline.startswith(f"10 of {len(made.verdict.checks)} checks not measured: back pressure on: ")


def test_what_was_not_seen_is_not_measured_and_does_not_pass() -> None:
    made = build_report((no_table(held(), lambda _: True),))

    assert not made.verdict.ok
    assert unseen(made) == [AGE]
    assert [check for check in made.verdict.checks if check.ok is False] == []
    assert table.check_mark(named(made, AGE)) == "not measured"
    assert '<td class="nil">not measured</td>' in render_page(made)
    assert "did not hold" in render_page(made)
    assert (
        f"not measured: back pressure on, {AGE}: not measured (at most 25 s)"
        in terminal.verdict_text(made.verdict).plain
    )


def test_the_headline_counts_what_failed_apart_from_what_was_not_measured() -> None:
    made = build_report((no_table(held(lost=2), lambda _: True), no_table(flooded(), lambda _: True)))

    assert (made.verdict.failed, made.verdict.not_measured) == (1, 3)
    assert made.verdict.headline == (
        "1 of 22 checks failed: back pressure on: rides lost is 2. "
        f"3 of 22 checks not measured: back pressure on: {AGE}; back pressure off: {', '.join(GROWTH)}."
    )


@pytest.mark.parametrize(("missed", "names"), [(2, []), (3, [AGE])])
def test_the_age_is_to_be_seen_in_nine_tenths_of_the_seconds(missed: int, names: list[str]) -> None:
    made = build_report((no_table(held(), lambda each: 5 <= each.at_s < 5 + missed),))

    assert unseen(made) == names
    assert made.verdict.ok == (not names)


def test_seconds_that_were_passed_over_are_not_seen_and_those_after_the_burst_do_not_count() -> None:
    late = [each for each in held().snapshots if each.at_s % 3 or each.at_s >= LASTS_S]
    made = build_report((held(snapshots=tuple(late)),))

    assert unseen(made) == [AGE, *(name for name in MEMORY if name != "memory of database"), WHOLE]
    assert named(made, AGE).value == "not measured: 2.00 s, but seen in 65% of the seconds only"


def test_one_second_out_of_bounds_fails_however_few_were_seen() -> None:
    made = build_report((held(snapshots=(second(3.0, oldest_s=26.0, broker=400.0),)),))

    assert [check.name for check in made.verdict.checks if check.ok is False] == [AGE, "memory of broker"]


def test_growth_is_to_be_seen_in_three_tenths_of_the_seconds() -> None:
    sparse, sparser = (no_table(flooded(), lambda each, n=n: bool(each.at_s % n)) for n in (3, 4))  # type: ignore[misc]

    assert unseen(build_report((sparse,))) == []
    assert unseen(build_report((sparser,))) == GROWTH
    assert not build_report((sparser,)).verdict.ok


@pytest.mark.parametrize("process", EXPECTED_PROCESSES)
def test_the_memory_of_each_process_is_to_be_seen(process: str) -> None:
    made = build_report((memory_unseen(lambda _: {process}),))

    assert unseen(made) == [f"memory of {process}", WHOLE]
    assert not made.verdict.ok


def test_a_process_that_is_gone_for_a_part_of_the_burst_is_not_measured() -> None:
    made = build_report((memory_unseen(lambda n: {"pricing"} if n > LASTS_S / 2 else ()),))

    assert unseen(made) == ["memory of pricing", WHOLE]
    assert named(made, WHOLE).value.startswith("not measured: 500 MB")


def test_the_databases_memory_is_looked_at_every_fifth_second_and_that_is_enough() -> None:
    assert build_report((memory_unseen(lambda n: {"database"} if n % 5 else ()),)).verdict.ok
    assert unseen(build_report((memory_unseen(lambda n: {"database"} if n % 10 else ()),))) == [
        "memory of database",
        WHOLE,
    ]


def test_other_processes_that_were_seen_have_the_bound_of_their_kind() -> None:
    made = build_report((beside(held(), {"broker-2": 300.0, "booking-2": 193.0}),))

    assert [check.name for check in made.verdict.checks if check.ok is False][:1] == ["memory of booking-2"]
    assert named(made, "memory of broker-2").ok


def test_nothing_offered_is_no_generator_in_time() -> None:
    assert "lateness of the generator itself, p99" in unseen(build_report((held(rides=(), lag_p99_ms=0.0),)))


def test_what_a_flood_has_not_told_yet_is_no_loss_and_not_due() -> None:
    busy = build_report((msgspec.structs.replace(flooded(), lost=3, at_rest=False),))
    over = build_report((msgspec.structs.replace(flooded(), lost=3),))

    assert [check.name for check in over.verdict.checks if check.ok is False] == ["rides lost"]
    assert busy.verdict.ok
    assert table.check_mark(named(busy, "rides lost")) == "not due yet"
    assert busy.verdict.headline == "All 4 checks passed. Not due yet: back pressure off: rides lost."


def test_a_flood_that_was_not_seen_to_be_busy_is_not_excused() -> None:
    quiet = where(flooded(), lambda _: True, queued=None)
    quiet = where(quiet, lambda each: each.at_s == LASTS_S, pending_requests=0, outbox_rows=0)

    assert unseen(build_report((msgspec.structs.replace(quiet, at_rest=False),))) == ["rides lost"]


def test_a_flood_that_was_busy_when_it_was_last_seen_long_before_the_end_is_not_excused() -> None:
    blind = where(
        flooded(),
        lambda each: each.at_s > LASTS_S - 2 * FINAL_WINDOW_S,
        queued=None,
        pending_requests=None,
        outbox_rows=None,
    )

    assert "rides lost" in unseen(build_report((msgspec.structs.replace(blind, at_rest=False),)))


def test_links_that_were_not_seen_say_so() -> None:
    said = [text for _, text in table.link_rows(build_report((held(snapshots=()),)))]

    assert said[0] == "queues: not measured"
    assert said[2:4] == ["outboxes: not measured", "admission control, loads by their limit: not measured"]


@pytest.mark.parametrize(
    ("side", "status"),
    [(held(), 0), (flooded(), 0), (held(lost=1), 1), (held(snapshots=()), 1)],
    ids=["held", "flooded", "failed", "unseen"],
)
def test_the_exit_status(side: BurstSide, status: int, tmp_path: Path) -> None:
    (tmp_path / f"{side.back_pressure}.json").write_bytes(msgspec.json.encode(side))
    done = CliRunner().invoke(judge, [str(tmp_path), "--json"])

    assert done.exit_code == status
    assert msgspec.json.decode((tmp_path / "report.json").read_bytes(), type=BurstReport).verdict.ok == (not status)


def test_a_report_from_before_what_was_seen_was_counted_can_be_read() -> None:
    added = {
        "due",
        "failed",
        "not_measured",
        "busy_at_end",
        "backlog_coverage",
        "memory_coverage",
        "memory_total_coverage",
    }

    def before(value: object) -> object:
        if isinstance(value, dict):
            return {key: before(each) for key, each in value.items() if key not in added}
        return [before(each) for each in value] if isinstance(value, list) else value

    made = build_report((held(), flooded()))
    old = before(msgspec.json.decode(msgspec.json.encode(made)))

    assert msgspec.json.decode(msgspec.json.encode(old), type=BurstReport).verdict.headline == made.verdict.headline
