"""Scorecard of the coupling, derived from the model."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from prebook.cli.coupling.command import coupling_group
from prebook.cli.coupling.operation_figures import read_plan_operations
from prebook.contracts.plan import Coupling
from prebook.flows import ALL_FLOWS
from prebook.topology.external_edges import Control
from prebook.topology.scorecard import FlowScore, external_scores, flow_scores, plan_scores, uniform_plans
from prebook.topology.type_references import referenced_types
from tests.topology.coupling_examples import LOOSE_EDGE, SUITE, CopiedQuote, copied_quote, suite_with

PLANS = {score.plan: score for score in plan_scores(SUITE, uniform_plans(SUITE))}


def score_of(flow: str, coupling: Coupling) -> FlowScore:
    (score,) = (each for each in flow_scores(SUITE) if (each.flow, each.coupling) == (flow, coupling))
    return score


def test_only_synchronous_calls_have_temporal_edges() -> None:
    assert PLANS["sync_api"].temporal_edges == len(ALL_FLOWS) > PLANS["one_way"].temporal_edges == 0
    assert {PLANS[name].temporal_edges for name in ("async_api", "request_reply")} == {0}


def test_a_synchronous_plan_needs_all_services_up_at_once() -> None:
    assert PLANS["sync_api"].up_at_once == 5
    assert {PLANS[name].up_at_once for name in ("async_api", "one_way", "request_reply")} == {1}


def test_temporal_edges_without_a_service_in_common_are_separate_groups() -> None:
    plan = {**uniform_plans(SUITE)[2][1], "quote_fare": Coupling.SYNC_API, "ask_fleet": Coupling.SYNC_API}
    (score,) = plan_scores(SUITE, [("two", plan)])
    assert (score.temporal_edges, score.up_at_once) == (2, 2)


@pytest.mark.parametrize(
    ("coupling", "known"),
    [
        (Coupling.SYNC_API, ("booking: host of pricing",)),
        (Coupling.ASYNC_API, ("booking: host of pricing", "pricing: host of booking")),
        (Coupling.ONE_WAY, ()),
        (Coupling.REQUEST_REPLY, ("pricing: name of booking",)),
    ],
)
def test_each_side_knows_only_what_the_model_says(coupling: Coupling, known: tuple[str, ...]) -> None:
    assert score_of("quote_fare", coupling).known_addresses == known


@pytest.mark.parametrize(
    ("coupling", "messages", "requests", "hops"),
    [
        (Coupling.SYNC_API, 0, 1, 2),
        (Coupling.ASYNC_API, 0, 2, 2),
        (Coupling.ONE_WAY, 2, 0, 6),
        (Coupling.REQUEST_REPLY, 2, 0, 6),
    ],
)
def test_operations_and_hops_follow_from_the_coupling(
    coupling: Coupling, messages: int, requests: int, hops: int
) -> None:
    for flow in ALL_FLOWS:
        score = score_of(flow.name, coupling)
        assert (score.broker_messages, score.http_requests, score.hops) == (messages, requests, hops)


def test_no_coupling_hides_the_types_of_the_messages() -> None:
    shared = {score_of("find_driver", coupling).shared_types for coupling in Coupling}
    assert len(shared) == 1
    assert "prebook.find_driver.v3" in shared.pop()


def test_a_flow_shows_the_party_behind_its_provider() -> None:
    score = score_of("ask_fleet", Coupling.ONE_WAY)
    assert (score.control, score.leads_to) == (Control.HIGH, {"partner fleets": Control.LOW})


def test_an_external_edge_shows_who_waits_and_what_the_party_sees() -> None:
    sync = replace(SUITE, plan=uniform_plans(SUITE)[0][1])
    before, after = ({each.edge: each for each in external_scores(model)}["partner_offer"] for model in (SUITE, sync))
    assert (before.decoupled_by, before.waiting) == ("request_reply", ())
    assert (after.decoupled_by, after.waiting) == ("", ("ask_fleet", "find_driver"))
    (copied,) = (
        each for each in external_scores(suite_with(replace(LOOSE_EDGE, sends=(copied_quote,)))) if each.edge == "sms"
    )
    assert copied.shared_types == ("FareQuoted",)
    assert "Money" in copied.shared_values


def test_types_are_found_at_any_depth() -> None:
    names = {found.__name__ for found in referenced_types([list[CopiedQuote | None]])}
    assert {"CopiedQuote", "FareQuoted", "Money", "list", "dict", "tuple"} <= names


def test_the_command_prints_the_scores_and_the_source_of_the_figures() -> None:
    done = CliRunner().invoke(coupling_group, ["scorecard"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "request_reply *" in done.output
    assert "prebook bench --only ride --save-baseline" in done.output


def test_the_command_prints_one_json_document() -> None:
    done = CliRunner().invoke(coupling_group, ["scorecard", "--json", "--coupling", "sync_api"])
    document = json.loads(done.stdout)
    assert document["schema"] == "prebook.scorecard/1"
    assert [(plan["plan"], plan["temporal_edges"]) for plan in document["plans"][:2]] == [
        ("this plan", 4),
        ("sync_api", 4),
    ]
    operations = {each["plan"]: each for each in document["operations"]}
    assert operations["one_way"]["counts"]["broker messages"] > operations["sync_api"]["counts"]["broker messages"] > 0


def test_the_newest_figure_of_each_plan_counts(tmp_path: Path) -> None:
    files = {"old": ("2026-01-31", ("one_way", "sync_api")), "new": ("2026-02-01", ("one_way",))}
    for name, (measured_on, plans) in files.items():
        counts = {plan: {"counts": {"statements": 1.0}, "knee_per_s": 2.0} for plan in plans}
        document = {"measured_on": measured_on, "machine": "m", "versions": "v", "plans": counts}
        (tmp_path / name).write_text(json.dumps(document))
    found = read_plan_operations([tmp_path / "new", tmp_path / "old"])
    assert [(each.plan, each.source) for each in found] == [("one_way", "new"), ("sync_api", "old")]


def test_a_file_without_figures_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    file.write_text("{}")
    done = CliRunner().invoke(coupling_group, ["scorecard", "--figures", str(file)])
    assert done.exit_code == 1
    assert "prebook bench --only ride" in done.output
