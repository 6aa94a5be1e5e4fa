"""Claims about a run: held, not held, or not measurable, each with the numbers."""

import msgspec
import pytest

from prebook.lab.faults import FaultWindow
from prebook.lab.ledger.reconciliation import Ledger
from prebook.lab.load.plans import PLANS
from prebook.lab.report.matrix import MatrixRow
from prebook.lab.report.model import CampaignReport, GeneratorLag, MachineInfo, ScenarioReport
from prebook.lab.suite_client.settings import StackInfo
from prebook.lab.verification.claims import CLAIMS, ClaimStatus, Judgement, judge_claim
from tests.lab.ledger.accounts_builder import START
from tests.lab.report.results import OFFERED, latency_around, result, scenario

HELD, NOT_HELD, NOT_MEASURABLE = ClaimStatus
BY_NAME = {claim.name: claim for claim in CLAIMS}
SHORT = Ledger(offered=OFFERED, confirmed=OFFERED - 3, refused=3)


def campaign(*scenarios: ScenarioReport, matrix: tuple[MatrixRow, ...] = ()) -> CampaignReport:
    return CampaignReport(
        run_id="run",
        seed=7,
        started_at=START,
        duration_s=1.0,
        stack=StackInfo("stub", "none", "none"),
        machine=MachineInfo(cores=2, memory_bytes=1, python="3.11", platform="test"),
        scenarios=scenarios,
        matrix=matrix,
    )


def judge(name: str, item: ScenarioReport) -> Judgement:
    return judge_claim(BY_NAME[name], campaign(item))


def calm(**outcome_ms: float) -> ScenarioReport:
    return scenario(*(result(label, outcome_ms.get(label, 20.0)) for label in PLANS))


def named(name: str, *short: str) -> ScenarioReport:
    """Return a scenario with a fault in which the plans ``short`` left rides unanswered."""
    results = [result(label, ledger=SHORT if label in short else None) for label in PLANS]
    return msgspec.structs.replace(scenario(*results, fault=True), name=name)


def test_names_are_unique_and_every_claim_names_a_claim_of_the_talk() -> None:
    assert len(BY_NAME) == len(CLAIMS)
    assert all(claim.talk for claim in CLAIMS)


@pytest.mark.parametrize(("sync_ms", "status"), [(15.0, HELD), (25.0, NOT_HELD)])
def test_the_first_to_settle_is_read_from_the_medians(sync_ms: float, status: ClaimStatus) -> None:
    judgement = judge("sync-settles-first", calm(sync_api=sync_ms))
    assert judgement.status is status
    assert f"sync_api {sync_ms:.0f} ms" in judgement.evidence


def test_different_outcomes_are_not_equal() -> None:
    first, *rest = calm().results
    odd = msgspec.structs.replace(first, outcome_hash="1" * 64)
    assert judge("equal-outcomes", calm()).status is HELD
    assert judge("equal-outcomes", msgspec.structs.replace(calm(), results=(odd, *rest))).status is NOT_HELD


@pytest.mark.parametrize(
    ("name", "short", "status"),
    [
        ("outage-bridged", ("sync_api", "mixed"), HELD),
        ("outage-bridged", ("sync_api", "one_way"), NOT_HELD),
        ("outage-hurts-callers", ("sync_api", "mixed"), HELD),
        ("outage-hurts-callers", ("sync_api",), NOT_HELD),
        ("broker-not-needed", ("one_way",), HELD),
        ("broker-not-needed", ("async_api",), NOT_HELD),
        ("database-needed", tuple(PLANS), HELD),
        ("database-needed", ("sync_api",), NOT_HELD),
        ("blocked-broker-bridged", (), HELD),
        ("blocked-broker-bridged", ("mixed",), NOT_HELD),
    ],
)
def test_answered_rides_decide(name: str, short: tuple[str, ...], status: ClaimStatus) -> None:
    judgement = judge(name, named(BY_NAME[name].scenario, *short))
    assert judgement.status is status
    assert f"of {OFFERED}" in judgement.evidence


def test_a_lost_ride_and_an_open_ledger_are_not_held() -> None:
    lost = Ledger(offered=OFFERED, confirmed=OFFERED, lost=1)
    is_open = Ledger(offered=OFFERED, confirmed=OFFERED - 1, in_flight=1)
    assert judge("nothing-lost-calm", calm()).status is HELD
    for ledger in (lost, is_open):
        assert judge("nothing-lost-calm", scenario(result("one_way", ledger=ledger))).status is NOT_HELD


def test_a_scenario_that_did_not_run_is_not_measurable_with_the_reason() -> None:
    row = MatrixRow(scenario="broker_restart", fault="broker_restart", not_measured_reason="no supervisor")
    claim = BY_NAME["broker-not-needed"]
    assert judge_claim(claim, campaign(matrix=(row,))) == Judgement(status=NOT_MEASURABLE, evidence="no supervisor")
    assert judge_claim(claim, campaign()).status is NOT_MEASURABLE


def test_a_fault_without_effect_is_not_measurable() -> None:
    window = FaultWindow(started_at=START, ended_at=START, took_effect=False, evidence="none")
    item = msgspec.structs.replace(named("pricing_down"), fault_window=window)
    assert judge("outage-bridged", item).status is NOT_MEASURABLE


def test_a_busy_machine_leaves_claims_about_time_unjudged_and_judges_those_about_counts() -> None:
    lag = GeneratorLag(lag_ms=latency_around(80), lagged=True)
    busy = msgspec.structs.replace(calm(sync_api=90.0), generator=lag)
    assert judge("sync-settles-first", busy).status is NOT_MEASURABLE
    assert judge("nothing-lost-calm", busy).status is HELD


def test_clocks_that_disagree_leave_every_claim_unjudged() -> None:
    skewed = msgspec.structs.replace(calm(), clock_deviation_s=5.0)
    statuses = {judge_claim(claim, campaign(skewed)).status for claim in CLAIMS if claim.scenario == "calm"}
    assert statuses == {NOT_MEASURABLE}
