"""Decisions of the variability matrix: verdicts from rides, planned load, and cells that must make a run fail."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from prebook.contracts.plan import Coupling
from prebook.devstack.parameters import DEFAULT_SEED
from prebook.devstack.supervisor.contract import ProcessSpec
from prebook.lab.experiments.variability.catalogue import NOT_MEASURABLE, VARIATIONS
from prebook.lab.experiments.variability.cell import NothingShown, Observation, RideCounts, TrialTimes, Verdict, judge
from prebook.lab.experiments.variability.changed_program import (
    CHANGES,
    Change,
    change_amounts,
    from_decimal,
    shift_fare,
    swap_coordinates,
    to_decimal,
)
from prebook.lab.experiments.variability.command import command_text, select
from prebook.lab.experiments.variability.deployments import PORT_VARIABLES, Release, instance_spec
from prebook.lab.experiments.variability.matrix import build_row, cell_table, unmeasured_rows, verdict_table
from prebook.lab.experiments.variability.message_counter import count_sent
from prebook.lab.experiments.variability.steady_load import plan_second
from prebook.lab.experiments.variability.trial import Cell, TrialEvidence, TrialResult, build_cell, unmeasured
from prebook.lab.experiments.variability.variation import CLAIMS, Dimension, Side, Variation
from prebook.lab.ledger.accounts import RideAccount
from tests.lab.ledger.accounts_builder import answered, at, refused

TIMES = TrialTimes(began_at=at(10), ended_at=at(12), steady_from=at(16), steady_until=at(27))
BEFORE = [answered(ride, ride, ride + 0.3) for ride in range(10)]
"""One ride a second, each answered after 0.3 s."""


def ride(number: int, took_s: float = 0.3) -> RideAccount:
    return answered(number, number, number + took_s)


def open_ride(number: int) -> RideAccount:
    return replace(refused(number, number), rows=())


def judge_all(after: list[RideAccount], **sets: frozenset[str]) -> Verdict:
    seen = Observation([*BEFORE, *after], **sets)
    return judge(seen, seen, TIMES).verdict


def test_rides_that_go_on_as_before_show_independence() -> None:
    seen = Observation([*BEFORE, *map(ride, range(10, 30))])
    judgement = judge(seen, seen, TIMES)
    assert (judgement.verdict, judgement.normal_after_s) == (Verdict.INDEPENDENT, 0.0)
    assert msgspec.structs.asdict(judgement.counts) == {
        "offered": 20, "answered": 20, "failed": 0, "parked": 0, "late": 0, "wrong": 0
    }  # fmt: skip


def test_a_ride_that_was_open_when_the_change_began_belongs_to_it() -> None:
    seen = Observation([*BEFORE[:-1], ride(9, took_s=5.0), *map(ride, range(10, 30))])
    assert judge(seen, seen, TIMES).counts.offered == 21


def test_rides_that_wait_long_during_a_change_show_a_delay() -> None:
    seen = Observation([*BEFORE, ride(10, 6.0), ride(11, 5.0), *map(ride, range(12, 30))])
    judgement = judge(seen, seen, TIMES)
    assert (judgement.verdict, judgement.counts.late) == (Verdict.DELAYED, 2)
    assert judgement.normal_after_s == 6.0, "both were answered at 16 s"


def test_the_start_of_a_process_delays_no_verdict() -> None:
    seen = Observation([*BEFORE, ride(10, 2.5), ride(11, 2.0), *map(ride, range(12, 30))])
    judgement = judge(seen, seen, TIMES)
    assert (judgement.verdict, judgement.counts.late, judgement.normal_after_s) == (Verdict.INDEPENDENT, 2, 0.0)


def test_steady_rides_that_are_late_show_a_delay_if_they_are_most() -> None:
    assert judge_all([ride(number, 1.6) for number in range(10, 30)]) is Verdict.DELAYED
    assert judge_all([ride(number, 1.6 if number < 21 else 0.3) for number in range(10, 30)]) is Verdict.INDEPENDENT


def test_a_ride_that_is_not_answered_shows_a_break() -> None:
    seen = Observation([*BEFORE, refused(10, 10), *map(ride, range(11, 30))])
    judgement = judge(seen, seen, TIMES)
    assert (judgement.verdict, judgement.counts.failed) == (Verdict.BREAKS, 1)
    assert judgement.causes == {"http_503": 1}
    assert judgement.normal_after_s == 0.0


def test_steady_rides_without_an_answer_show_that_the_other_side_must_change() -> None:
    observed = Observation([*BEFORE, *map(open_ride, range(10, 30))])
    final = Observation([*BEFORE, *(ride(number, 20.0) for number in range(10, 30)), *map(ride, range(50, 53))])
    judgement = judge(observed, final, TIMES)
    assert judgement.verdict is Verdict.MUST_CHANGE
    assert (judgement.counts.failed, judgement.counts.late) == (0, 20), "all were answered after the other change"
    assert judgement.normal_after_s == 39.0


def test_rides_soon_after_the_change_or_soon_before_its_observation_are_not_steady() -> None:
    after = [refused(n, n) if n < 16 or n >= 27 else ride(n) for n in range(10, 30)]
    assert judge_all(after) is Verdict.BREAKS
    assert judge_all([refused(n, n) if n < 23 else ride(n) for n in range(10, 30)]) is Verdict.MUST_CHANGE


def test_rides_with_another_fare_are_not_served() -> None:
    after = [*map(ride, range(10, 30))]
    wrong = frozenset(account.sample.key for account in after)
    assert judge_all(after, wrong=wrong) is Verdict.MUST_CHANGE
    assert judge_all(after, wrong=frozenset({after[0].sample.key})) is Verdict.BREAKS
    assert judge_all(after, parked=wrong) is Verdict.INDEPENDENT


def test_rides_that_stay_late_never_become_normal() -> None:
    seen = Observation([*BEFORE, *(ride(number, 2.0) for number in range(10, 30))])
    judgement = judge(seen, seen, TIMES)
    assert (judgement.verdict, judgement.normal_after_s) == (Verdict.DELAYED, None)


@pytest.mark.parametrize("accounts", [[*map(ride, range(10, 30))], [*BEFORE, ride(11)]])
def test_too_few_rides_show_nothing(accounts: list[RideAccount]) -> None:
    with pytest.raises(NothingShown):
        judge(Observation(accounts), Observation(accounts), TIMES)


def cell(verdict: Verdict | None, expected: Verdict, doubt: str = "") -> Cell:
    return Cell(coupling=Coupling.ONE_WAY, verdict=verdict, expected=expected, reason="it waits", doubt=doubt)


def test_a_cell_fails_with_another_verdict_and_without_any() -> None:
    assert cell(Verdict.DELAYED, Verdict.DELAYED).is_as_expected
    assert not cell(Verdict.INDEPENDENT, Verdict.DELAYED).is_as_expected
    assert not cell(None, Verdict.DELAYED).is_as_expected


def test_the_matrix_says_how_many_rides_a_change_costs() -> None:
    counts = RideCounts(offered=20, answered=18, failed=2, parked=0, late=0, wrong=3)
    shown = msgspec.structs.replace(cell(Verdict.BREAKS, Verdict.DELAYED), counts=counts)
    row = build_row(TrialResult(VARIATIONS[0], [shown], 1.0))
    matrix: Any = SimpleNamespace(rows=[row], not_measurable=unmeasured_rows(NOT_MEASURABLE, [Dimension.TOPOLOGY]))
    measured, not_measurable = verdict_table(matrix).rows
    assert measured[-1] == "breaks, 2 of 20 failed, 3 of 20 wrong (EXPECTED delayed)"
    assert not_measurable[2].startswith("not measurable: a flow has one caller")
    assert cell_table(matrix).rows[0][2:8] == ("breaks", "20", "18", "2", "0", "0")


def test_a_trial_that_ends_with_an_error_is_a_problem_in_every_coupling() -> None:
    row = build_row(unmeasured(VARIATIONS[0], "the broker is gone"))
    assert row.problems == [
        f"{row.name}, {coupling}: not measured: the broker is gone" for coupling in VARIATIONS[0].expected
    ]


def test_a_change_of_the_other_side_that_does_not_help_is_a_problem() -> None:
    seen = Observation([*BEFORE, *map(open_ride, range(10, 30))])
    evidence = TrialEvidence(
        observed=seen, final=seen, times=TIMES, observed_at=at(30), followed_at=at(31), sent=40, doubt=""
    )
    variation = next(each for each in VARIATIONS if each.name == "location-provider")
    unhelped = build_cell(variation, Coupling.SYNC_API, evidence)
    assert (unhelped.verdict, unhelped.is_as_expected) == (Verdict.MUST_CHANGE, False)
    final = Observation([*seen.accounts, *map(ride, range(32, 36))])
    helped = build_cell(variation, Coupling.SYNC_API, replace(evidence, final=final))
    assert (helped.is_as_expected, helped.settings_changed, helped.files_changed) == (True, 1, 0)


def test_messages_are_counted_per_ride_that_was_answered_meanwhile() -> None:
    seen = Observation([*BEFORE, *map(ride, range(10, 30))])
    evidence = TrialEvidence(
        observed=seen, final=seen, times=TIMES, observed_at=at(30), followed_at=None, sent=36, doubt=""
    )
    cell_ = build_cell(VARIATIONS[0], Coupling.ONE_WAY, evidence)
    assert cell_.messages_per_ride == 2.0, "18 rides were answered from 12 to 30 s"


@pytest.mark.parametrize(
    ("verdict", "expected", "is_inconclusive"),
    [
        (Verdict.DELAYED, Verdict.INDEPENDENT, True),
        (Verdict.INDEPENDENT, Verdict.DELAYED, True),
        (Verdict.BREAKS, Verdict.INDEPENDENT, True),
        (Verdict.INDEPENDENT, Verdict.MUST_CHANGE, False),
        (Verdict.DELAYED, Verdict.BREAKS, False),
        (Verdict.BREAKS, Verdict.BREAKS, False),
        (None, Verdict.BREAKS, False),
    ],
)
def test_a_busy_machine_excuses_lateness_and_worse_verdicts_only(
    verdict: Verdict | None, expected: Verdict, is_inconclusive: bool
) -> None:
    busy = cell(verdict, expected, "timers were late")
    assert busy.is_inconclusive is is_inconclusive
    assert busy.is_as_expected is (is_inconclusive or verdict is expected)
    assert not cell(verdict, expected).is_inconclusive


def test_every_ride_is_offered_under_each_plan_at_equal_distances() -> None:
    planned = plan_second(3, ("a", "b"), 2)
    assert [(each.ride, each.label) for each in planned] == [(6, "a"), (6, "b"), (7, "a"), (7, "b")]
    assert [each.at_s for each in planned] == [3.0, 3.25, 3.5, 3.75]
    assert plan_second(4, ("a", "b"), 2)[0].ride == 8


def test_sent_requests_and_replies_are_summed_by_coupling() -> None:
    page = """# TYPE prebook_messages_sent_total counter
prebook_messages_sent_total{coupling="one_way",flow="quote_fare",kind="request"} 3.0
prebook_messages_sent_total{coupling="one_way",flow="quote_fare",kind="reply"} 2.0
prebook_messages_sent_total{coupling="one_way",flow="booking_ended",kind="event"} 7.0
prebook_messages_sent_total{coupling="sync_api",flow="quote_fare",kind="request"} 1.0
"""
    assert count_sent([page, page]) == {"one_way": 10, "sync_api": 2}


@pytest.mark.parametrize("cents", [0, 5, 99, 100, 123456])
def test_decimal_amounts_are_read_as_they_were_written(cents: int) -> None:
    fields = {"fare": {"cents": cents, "currency": "EUR"}, "discount": {"cents": 7}}
    written = change_amounts(fields, to_decimal)
    assert isinstance(written["fare"]["cents"], str)
    assert change_amounts(written, from_decimal) == fields == change_amounts(fields, from_decimal)


def test_a_changed_meaning_is_undone_by_its_reader() -> None:
    fare = {"fare": {"cents": 900}, "discount": {"cents": 100}}
    assert shift_fare(fare, 1)["fare"]["cents"] == 1000
    assert shift_fare(shift_fare(fare, 1), -1) == fare
    request = {"pickup": {"lat": 52.5, "lon": 13.4}, "dropoff": {"lat": 52.4, "lon": 13.3}, "passengers": 2}
    assert swap_coordinates(request)["pickup"] == {"lat": 13.4, "lon": 52.5}
    assert swap_coordinates(swap_coordinates(request)) == request


def test_every_change_of_a_program_can_be_applied() -> None:
    assert set(CHANGES) == set(Change)


def test_every_dimension_is_varied_on_both_sides_or_named_not_measurable() -> None:
    varied = {(each.dimension, each.side) for each in VARIATIONS}
    not_measurable = {(each.dimension, each.side) for each in NOT_MEASURABLE}
    everything = {(dimension, side) for dimension in Dimension for side in Side}
    assert everything - varied - not_measurable == {(Dimension.CONVERSATION, Side.CALLER)}, "a gap that is known"
    assert set(CLAIMS) == set(Dimension)


def test_names_of_variations_are_unique_and_parts_of_idempotency_keys() -> None:
    names = [each.name for each in VARIATIONS]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z-]{1,60}", name) for name in names)


@pytest.mark.parametrize("variation", VARIATIONS, ids=lambda variation: variation.name)
def test_a_variation_expects_a_verdict_in_every_coupling_for_a_reason(variation: Variation) -> None:
    assert set(variation.expected) == set(Coupling)
    assert set(variation.plans_before) == set(Coupling)
    assert all(expectation.reason for expectation in variation.expected.values())
    must_change = any(each.verdict is Verdict.MUST_CHANGE for each in variation.expected.values())
    assert must_change is (variation.follow_up is not None), "what must change is changed"


def test_the_quick_form_has_every_verdict() -> None:
    quick = select((), quick=True)
    assert {each.verdict for variation in quick for each in variation.expected.values()} == set(Verdict)
    assert select((), quick=False) == list(VARIATIONS)
    assert [each.name for each in select(("temporal", "format-caller"), quick=True)] == [
        "temporal-provider", "temporal-caller", "format-caller"
    ]  # fmt: skip


def test_the_command_repeats_a_run() -> None:
    assert command_text(("data type", "format-caller"), quick=True, seed=3) == (
        "prebook lab coupling --only 'data type' --only format-caller --quick --seed 3"
    )
    assert command_text((), quick=False, seed=DEFAULT_SEED) == "prebook lab coupling"


def test_an_instance_has_ports_a_log_and_settings_of_its_own() -> None:
    spec = ProcessSpec(
        "pricing", ("python", "-m", "prebook.pricing"), {"A": "1", "B": "1"}, "", Path("logs/pricing.log")
    )
    first = instance_spec(spec, Release({"B": "2"}), 4)
    second = instance_spec(spec, Release(change=Change.READS_JSON_ONLY), 5)
    assert (first.env["A"], first.env["B"], first.args) == ("1", "2", spec.args)
    assert second.args[-2:] == ("pricing", "reads_json_only")
    assert first.log_file == Path("logs/pricing-4.log")
    ports = [each.env[name] for each in (first, second) for name in PORT_VARIABLES]
    assert len(set(ports)) == 4
    assert first.ready_url == f"http://127.0.0.1:{ports[1]}/readyz"
