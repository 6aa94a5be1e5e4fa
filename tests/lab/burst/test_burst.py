"""What is said of a burst: figures from what was written down, checks that can fail, a table and a page."""

import msgspec
import pytest
from rich.console import Console

from prebook.lab.burst import table, terminal
from prebook.lab.burst.capacity import capacity
from prebook.lab.burst.figures import bin_by_second, figures
from prebook.lab.burst.judge import build_report
from prebook.lab.burst.line_chart import axis_max
from prebook.lab.burst.model import BurstSide, LoadLevel
from prebook.lab.burst.page import render_page
from tests.lab.burst.bursts import LASTS_S, MEMORY_MB, beside, flooded, held, refused, ride, second


def failed(*sides: BurstSide) -> list[tuple[str, str]]:
    return [(check.side, check.name) for check in build_report(sides).verdict.checks if check.ok is False]


def test_a_burst_that_was_held_passes_beside_one_that_was_not() -> None:
    made = build_report((held(), flooded()))

    assert made.verdict.ok
    assert failed(held(), flooded()) == []
    assert (made.verdict.failed, made.verdict.not_measured) == (0, 0)
    assert made.verdict.headline == f"All {len(made.verdict.checks)} checks passed."


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"snapshots": tuple(second(float(n), oldest_s=26.0) for n in range(20))}, "age of the oldest message"),
        ({"snapshots": tuple(second(float(n), broker=400.0) for n in range(20))}, "memory of broker"),
        (
            {"snapshots": tuple(second(float(n), broker=380.0, database=500.0, booking=150.0) for n in range(20))},
            "memory of the whole suite",
        ),
        ({"capacity_per_s": 11.0}, "goodput, of capacity"),
        ({"rides": tuple(ride(n / 10, took_s=31.0) for n in range(200))}, "goodput, of capacity"),
        ({"lag_p99_ms": 251.0}, "lateness of the generator itself, p99"),
        ({"lost": 1}, "rides lost"),
        ({"duplicated": 1}, "rides doubled"),
        ({"in_flight": 1}, "rides still in flight"),
    ],
)
def test_each_bound_can_fail(changes: dict[str, object], name: str) -> None:
    assert failed(held(**changes)) == [("on", name)]


def test_a_ride_turned_away_without_a_word_or_without_a_time_fails() -> None:
    gone = msgspec.structs.replace(refused(1.0), outcome="failed", refused_s=())
    silent = refused(1.0, explicit=False)

    assert failed(held(rides=(*held().rides, gone))) == [("on", "rides turned away without a word")]
    assert failed(held(rides=(*held().rides, silent))) == [("on", "riders refused without Retry-After")]


def test_times_that_are_not_true_fail() -> None:
    back = tuple(refused(n / 10, came_in=n % 5 == 0) for n in range(100))

    assert failed(held(rides=(*held().rides, *back))) == [("on", "got in when told to come back")]


def test_a_burst_that_nothing_grew_in_shows_nothing() -> None:
    quiet = held(back_pressure="off")

    assert [side for side, _ in failed(held(), quiet)] == ["off", "off"]


def test_the_whole_suites_memory_is_the_sum_of_what_was_last_seen_of_each() -> None:
    between = second(1.0, broker=300.0, booking=90.0, unseen={"database"})
    gone = second(2.0, broker=140.0, database=210.0, unseen={"booking"})
    seen = figures(held(snapshots=(second(0.0), between, gone)))

    assert (seen.memory_total_mb, seen.memory_growth_mb) == (690.0, 190.0)
    assert seen.memory_mb == {**MEMORY_MB, "broker": 300.0, "database": 210.0, "booking": 90.0}


def test_the_figures_of_a_flood() -> None:
    seen = figures(flooded())

    assert seen.oldest_age_slope == pytest.approx(0.9, abs=0.01)
    assert seen.backlog_slope == pytest.approx(40.0, abs=0.1)
    assert seen.oldest_age_at_end_s == pytest.approx(0.9 * LASTS_S)
    assert seen.backlog_at_end == 40 * LASTS_S
    assert seen.late == sum(n / 25 > 30.0 for n in range(1000))
    assert seen.goodput_per_s == pytest.approx(sum(n / 50 + n / 25 < LASTS_S for n in range(1000)) / LASTS_S, abs=0.01)


def test_who_comes_back_is_counted_by_when_they_got_in() -> None:
    at_once = msgspec.structs.replace(ride(1.0), refused_s=(0.5,), retries=1, accepted_on_first_retry=True)
    later = msgspec.structs.replace(ride(1.0), refused_s=(0.2, 0.6), retries=2, accepted_on_first_retry=False)
    seen = figures(held(rides=(*held().rides, at_once, later, refused(1.0, came_in=False))))

    assert (seen.retried, seen.accepted_on_first_retry, seen.accepted_on_any_retry) == (3, 1, 2)


def test_the_capacity_is_the_best_of_the_ladder() -> None:
    rates = ((12.0, 12.1), (18.0, 17.5), (27.0, 16.0))

    assert (
        capacity(
            [LoadLevel(offered_per_s=offered, settled_per_s=settled, duration_s=8.0) for offered, settled in rates]
        )
        == 17.5
    )


def test_what_can_be_held_counts_more_than_what_was_settled_for_some_seconds() -> None:
    short, held = (
        LoadLevel(offered_per_s=18.0, settled_per_s=n, duration_s=lasted) for n, lasted in ((18.0, 8.0), (14.0, 40.0))
    )

    assert capacity([short, held]) == 14.0


def test_seconds_are_counted_and_what_is_outside_is_left_out() -> None:
    assert bin_by_second([0.0, 0.9, 1.0, None, -1.0, 3.0], 3) == (2, 1, 0)


def test_a_chart_ends_at_a_round_number() -> None:
    assert [axis_max([value]) for value in (0.2, 1.0, 3.0, 47.0, 120.0, 501.0)] == [1.0, 1.0, 5.0, 50.0, 200.0, 1000.0]


def test_table_and_page_say_the_same_of_both_sides() -> None:
    made = build_report((held(), flooded()))
    console = Console(width=170, record=True, file=None, quiet=True)
    console.print(terminal.results_view(made))
    shown = render_page(made)

    for name, *cells in table.side_rows(made):
        assert len(cells) == 2
        assert name.strip() in shown
    assert "back pressure off" in shown
    assert shown.count("<svg") == 7 + len((*MEMORY_MB, "the whole suite"))
    assert "http://" not in shown.replace("http://www.w3.org", "")
    assert len(shown) < 400_000
    assert {plan for plan, *_ in table.plan_rows(made)} == {"one_way", "sync_api"}


def test_every_process_and_the_whole_suite_are_shown_on_both_sides() -> None:
    made = build_report((held(), beside(flooded(), {"pricing": 33.0, "booking-2": 44.0})))
    rows = {name.strip(): cells for name, *cells in table.side_rows(made)}

    for process in MEMORY_MB:
        assert rows[f"memory of {process}, most"][0] == f"{MEMORY_MB[process]:.0f} MB"
    assert rows["memory of pricing, most"][1] == "33 MB"
    assert rows["memory of booking-2, most"] == ["not measured", "44 MB"]
    assert rows["memory of the whole suite, most"] == ["500 MB", "557 MB"]


def test_the_page_draws_every_process_and_the_whole_suite() -> None:
    shown = render_page(build_report((held(), flooded())))

    for title in ("memory of the whole suite", *(f"memory of {process}" for process in MEMORY_MB)):
        assert f"<title>{title} by second</title>" in shown
    assert "on: not measured" not in shown
    assert " on: not measured" in render_page(build_report((held(snapshots=(second(0.0, unseen={"fleets"}),)),)))


def test_a_report_survives_the_file() -> None:
    made = build_report((held(), flooded()))

    assert msgspec.json.decode(msgspec.json.encode(made), type=type(made)) == made
