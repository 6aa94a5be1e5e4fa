"""Laws of the experiments on the model, from their commands; no server."""

from collections import Counter
from typing import Any, cast

import pytest

from prebook.contracts.plan import Coupling
from prebook.lab.experiments.experiment import ExperimentRun
from prebook.lab.experiments.law import LawVerdict
from prebook.lab.experiments.model import level_of_control, regeneration, temporal_edges, views
from prebook.lab.experiments.model.commands import ModelSize
from prebook.lab.experiments.model.operations import (
    CALLS,
    HTTP_REQUESTS,
    SENT,
    FlowFigures,
    operation_checks,
    plan_counts,
)
from prebook.lab.experiments.model.temporal_edges import PlanFigures, plan_checks
from prebook.lab.experiments.result import find_problems

EXPERIMENTS = (
    temporal_edges.TEMPORAL_EDGES,
    level_of_control.LEVEL_OF_CONTROL,
    views.CONTROL_FLOW_PICTURES,
    views.TWO_VIEWS,
    regeneration.REGENERATION,
)
RUN = ExperimentRun(7, lambda _: None, cast("Any", None))
"""A run without servers, which none of these experiments uses."""


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda each: each.name)
async def test_the_model_keeps_the_law_and_the_wrong_way_violates_it(experiment: Any) -> None:
    measurement = await experiment.measure(RUN, ModelSize())
    assert find_problems(experiment, measurement.checks) == []
    assert {check.verdict for check in measurement.checks} == {LawVerdict.HELD, LawVerdict.VIOLATED}
    assert measurement.tables


def test_a_plan_of_messages_in_which_somebody_waits_fails() -> None:
    waiting = PlanFigures(plan="one_way", temporal_edges=1, up_at_once=2, known_addresses=0, hops=24, needs_broker=True)
    assert [check.is_as_expected for check in plan_checks({Coupling.ONE_WAY: waiting})] == [False, False]


FLOWS = (
    FlowFigures(flow="quote_fare", coupling="one_way", broker_messages=2, http_requests=0),
    FlowFigures(flow="quote_fare", coupling="sync_api", broker_messages=0, http_requests=1),
)


def test_operations_are_those_of_the_requests_that_were_counted() -> None:
    totals = Counter(
        {
            ("one_way", "quote_fare", "request"): 3,
            ("one_way", "quote_fare", "reply"): 3,
            ("one_way", "booking_ended", "event"): 2,
            ("", "", HTTP_REQUESTS): 0,
        }
    )
    checks = operation_checks(FLOWS, {Coupling.ONE_WAY: plan_counts(totals)})
    assert [check.verdict for check in checks] == [LawVerdict.HELD, LawVerdict.HELD, LawVerdict.VIOLATED]
    totals["one_way", "quote_fare", "reply"] -= 1
    lost = operation_checks(FLOWS, {Coupling.ONE_WAY: plan_counts(totals)})
    assert [check.is_as_expected for check in lost] == [False, True, True]


def test_messages_and_calls_are_read_from_the_metrics() -> None:
    page = (
        'prebook_messages_sent_total{coupling="one_way",flow="quote_fare",kind="request"} 4.0\n'
        'prebook_http_client_requests_total{provider="pricing"} 7.0\n'
    )
    assert SENT.findall(page) == [("one_way", "quote_fare", "request", "4.0")]
    assert CALLS.findall(page) == ["7.0"]


def test_a_picture_with_an_arrow_of_the_other_side_differs() -> None:
    svg = '<g data-arrow="a"><path class="line pulled" d=""/></g><g data-arrow="b"><path class="line" d=""/></g>'
    assert views.arrows_of(svg) == {"a": "target", "b": "source"}
