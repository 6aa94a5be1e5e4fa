"""Laws of the experiments on control flow, on times and counts made by hand. No server."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from prebook.lab.experiments.flow_control import back_pressure as pressure
from prebook.lab.experiments.flow_control import campaign_tokens
from prebook.lab.experiments.flow_control import traffic_shaping as shaping
from prebook.lab.experiments.flow_control import valuable_messages as value
from prebook.lab.experiments.flow_control.campaign_tokens import NOT_LESS, NOT_MORE, TOLD, TokenRun, token_checks
from prebook.lab.experiments.flow_control.capacity import busy_doubt, drift_doubt
from prebook.lab.experiments.flow_control.messages_in_progress import Pace, linear_check, little_check, pace_of
from prebook.lab.experiments.flow_control.traffic_shaping import ShapingRun, Wave, due_s, wave_checks, wave_of
from prebook.lab.experiments.flow_control.valuable_messages import Offered, ValueRun, account, value_checks
from prebook.lab.experiments.law import LawVerdict
from prebook.lab.experiments.patterns.site import Effect

START = datetime(2030, 1, 1, tzinfo=UTC)
SQUARE = Wave([15, 15, 15, 15, 0, 0, 0, 0])


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_messages_are_due_while_the_wave_is_high() -> None:
    times = [due_s(number, 60.0) for number in range(120)]
    assert (times[0], times[60]) == (0.0, 2.0)
    assert max(times) == pytest.approx(2 + 59 / 60)
    assert wave_of(times).counts == [15, 15, 15, 15, 0, 0, 0, 0, 15, 15, 15]


@pytest.mark.parametrize(
    ("handled", "violated"),
    [
        (Wave([7, 8, 7, 8, 7, 8, 7, 8]), []),
        (SQUARE, [shaping.SMOOTH, shaping.SHAVED]),
        (Wave([12, 8, 8, 8, 8, 8, 8, 0]), [shaping.SHAVED]),
        (Wave([11, 11, 11, 11, 11, 5, 0, 0]), [shaping.SMOOTH]),
    ],
)
def test_a_flat_load_is_shaped_and_a_wave_is_not(handled: Wave, violated: list[str]) -> None:
    run = ShapingRun(SQUARE, handled, effects=Counter())
    assert [check.law for check in wave_checks("", run, LawVerdict.HELD) if check.problem] == violated


@pytest.mark.parametrize(
    ("prefetch", "per_s", "message_s", "verdict"),
    [
        (4, 100.0, 0.04, LawVerdict.HELD),
        (4, 80.0, 0.04, LawVerdict.HELD),
        (4, 70.0, 0.04, LawVerdict.VIOLATED),
        (4, 130.0, 0.04, LawVerdict.VIOLATED),
    ],
)
def test_throughput_times_latency_is_the_number_in_progress(
    prefetch: int, per_s: float, message_s: float, verdict: LawVerdict
) -> None:
    assert little_check(Pace(prefetch, per_s, message_s), "").verdict is verdict


def test_a_pace_follows_from_effects_and_times() -> None:
    pace = pace_of(2, [after(0.2), after(0), after(0.1)], [0.2, 0.1])
    assert pace.per_s == pytest.approx(10)
    assert pace.message_s == pytest.approx(0.15)
    assert pace.in_progress == pytest.approx(1.5)


def test_more_messages_in_progress_are_not_as_much_more_throughput() -> None:
    assert linear_check(Pace(1, 30.0, 0.03), Pace(64, 600.0, 0.1)).problem == ""
    assert "nothing was shown" in linear_check(Pace(1, 30.0, 0.03), Pace(64, 1_900.0, 0.03)).problem


def test_value_counts_if_a_message_is_handled_in_time() -> None:
    offered = [
        Offered("a", 5, START, is_accepted=True),
        Offered("b", 3, START, is_accepted=True),
        Offered("c", 2, START, is_accepted=True),
        Offered("d", 1, START, is_accepted=False),
    ]
    effects = [Effect("", "a", after(1.0)), Effect("", "b", after(1.1)), Effect("", value.LAST, after(2.0))]
    assert account(offered, effects, expired=1) == ValueRun(
        offered=4, refused=1, handled=2, expired=1, value_offered=11, value_in_time=5
    )


def value_run(handled: int, in_time: int, *, refused: int = 0, expired: int = 0) -> ValueRun:
    return ValueRun(100, refused, handled, expired, value_offered=500, value_in_time=in_time)


@pytest.mark.parametrize(
    ("limited", "admitted", "violated"),
    [
        (value_run(60, 250, expired=40), value_run(55, 230, refused=45), []),
        (value_run(60, 119, expired=40), value_run(55, 230, refused=45), [value.WORTH_MORE]),
        (value_run(60, 250, expired=39), value_run(55, 230, refused=45), [value.ACCOUNTED]),
        (value_run(60, 250, expired=40), value_run(54, 230, refused=45, expired=1), [value.KEPT]),
        (value_run(100, 250), value_run(55, 230, refused=45), [value.KEPT]),
    ],
)
def test_a_time_to_live_is_worth_more_and_admission_lets_nothing_expire(
    limited: ValueRun, admitted: ValueRun, violated: list[str]
) -> None:
    runs = {value.UNLIMITED: value_run(100, 100), value.LIMITED: limited, value.ADMITTED: admitted}
    assert [check.law for check in value_checks(runs, "") if check.problem] == violated


def test_runs_at_another_rate_than_the_capacity_are_doubted() -> None:
    assert drift_doubt(10.0, [9.0, 11.0]) == ""
    assert "7.0/s instead of 10.0/s" in drift_doubt(10.0, [9.0, 7.0])


@pytest.mark.parametrize(
    ("admitted", "untold", "violated"),
    [
        ([1, 4, 4, 2], 0, []),
        ([5, 4, 4, 2], 0, [NOT_MORE]),
        ([1, 4, 5, 2], 0, [NOT_MORE]),
        ([1, 3, 4, 2], 0, [NOT_LESS]),
        ([1, 3, 5, 2], 0, [NOT_MORE, NOT_LESS]),
        ([1, 4, 4, 2], 1, [TOLD]),
    ],
)
def test_each_complete_window_has_its_quota(admitted: list[int], untold: int, violated: list[str]) -> None:
    checks = token_checks(campaign_tokens.RIGHT, TokenRun(4, admitted, refused=9, untold=untold))
    assert [check.law for check in checks if check.verdict is LawVerdict.VIOLATED] == violated


@pytest.mark.parametrize(
    ("changes", "violated"),
    [
        ({}, []),
        ({"handled": 9}, [pressure.ACCOUNTED]),
        ({"most_waiting": 6}, [pressure.DEPTH]),
        ({"longest_wait_s": 1.51}, [pressure.AGE]),
        ({"per_s": 8.9}, [pressure.GOODPUT]),
    ],
)
def test_back_pressure_bounds_wait_and_depth_at_full_goodput(changes: dict[str, Any], violated: list[str]) -> None:
    bounded = pressure.PressureRun(
        offered=20, refused=10, handled=10, most_waiting=5, high_water_mark=4.5, longest_wait_s=1.5, per_s=9.0
    )
    checks = list(pressure.pressure_checks(pressure.RIGHT, replace(bounded, **changes), 10.0, ""))
    assert [check.law for check in checks if check.verdict is LawVerdict.VIOLATED] == violated


def test_the_wait_of_a_message_ends_with_its_effect() -> None:
    sent = pressure.Sent({"a": START, "b": START}, refused=3, most_waiting=2, high_water_mark=4.5)
    effects = [Effect("", "a", START + timedelta(seconds=1)), Effect("", "b", START + timedelta(seconds=3))]
    own = pressure.account(sent, effects)
    assert (own.offered, own.handled, own.longest_wait_s, own.per_s) == (5, 2, 3.0, 0.5)


def test_a_capacity_far_below_the_work_is_a_doubt() -> None:
    assert busy_doubt(15.7) == ""
    assert "14.0/s" in busy_doubt(14.0)
