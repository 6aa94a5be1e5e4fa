"""A short campaign on a real suite: `prebook demo` and the report it writes."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from prebook.flows import FLOWS
from prebook.lab.campaign.command import EXIT_NOT_JUDGED
from prebook.lab.campaign.scenarios import OVERLOAD_FACTOR
from prebook.lab.load.plans import PLANS
from prebook.lab.load.samples import Sample
from prebook.lab.report.model import CampaignReport, CampaignVerdict, ScenarioReport
from prebook.lab.report.outage_law import waits_for
from prebook.lab.verification.folder import verify_folder
from prebook.testing.configuration import make_settings
from tests.conftest import Figure
from tests.integration.suite import PREBOOK, run_command

TIMEOUT_S = 300.0
pytestmark = [pytest.mark.real, pytest.mark.timeout(TIMEOUT_S + 60)]
UNPROTECTED = "overload_unprotected"
SCENARIOS = ("calm", "overload", UNPROTECTED, "pricing_down")


@dataclass(frozen=True)
class CampaignRun:
    """A finished campaign: exit status, report, and every request."""

    status: int
    folder: Path
    report: CampaignReport
    samples: Sequence[Sample]

    @property
    def verdict(self) -> CampaignVerdict:
        """The verdict, which every report has."""
        assert self.report.verdict is not None
        return self.report.verdict

    @property
    def scenarios(self) -> Mapping[str, ScenarioReport]:
        """Scenario name -> its report."""
        return {scenario.name: scenario for scenario in self.report.scenarios}


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> CampaignRun:
    folder = tmp_path_factory.mktemp("campaign")
    chosen = [argument for name in SCENARIOS for argument in ("--scenario", name)]
    env = {**os.environ, "PREBOOK_HOME": str(folder / "home")}
    completed = run_command(
        [*PREBOOK, "demo", *chosen, "--duration", "6", "--seed", "7", "--report", str(folder / "report")],
        env,
        timeout_s=TIMEOUT_S,
    )
    written = folder / "report" / "report.json"
    assert written.exists(), completed.stderr
    return CampaignRun(
        completed.returncode,
        folder / "report",
        msgspec.json.decode(written.read_bytes(), type=CampaignReport),
        [
            msgspec.json.decode(line, type=Sample)
            for line in (folder / "report" / "samples.jsonl").read_bytes().splitlines()
        ],
    )


def test_nothing_fails_and_a_busy_machine_is_told_apart_from_a_failure(campaign: CampaignRun, figure: Figure) -> None:
    figure(f"campaign of {len(SCENARIOS)} scenarios: {campaign.report.duration_s:.0f} s, {campaign.verdict.headline}")
    assert campaign.verdict.problems == ()
    assert campaign.status == (EXIT_NOT_JUDGED if campaign.verdict.doubts else 0)


def test_every_ledger_closes_without_a_lost_or_duplicated_ride(campaign: CampaignRun) -> None:
    assert list(campaign.scenarios) == list(SCENARIOS)
    for scenario in campaign.report.scenarios:
        assert {result.label for result in scenario.results} == set(PLANS)
        assert all(result.ledger.closes for result in scenario.results), scenario.name
        assert (scenario.totals["lost"], scenario.totals["duplicated"]) == (0, 0), scenario.name
        assert scenario.totals["offered"] > len(PLANS)


def test_the_replies_of_the_fleets_to_a_calm_load_are_all_accounted_for(campaign: CampaignRun) -> None:
    calm = campaign.scenarios["calm"]
    offers = calm.offers
    assert offers is not None
    assert 0 < offers.auctions <= sum(result.accepted for result in calm.results)
    assert list(offers.fleets) == list(make_settings().fleets)
    for totals in (offers.total, *offers.fleets.values()):
        assert totals.asked == totals.used + totals.late + totals.unreadable + totals.missing > 0
        assert totals.duplicate == 0
    assert sum(totals.asked for totals in offers.fleets.values()) == offers.total.asked


def test_every_number_of_the_report_follows_from_the_raw_results(campaign: CampaignRun, figure: Figure) -> None:
    result = verify_folder(campaign.folder)
    figure(f"numbers recomputed from the raw results: {sum(result.checked.values())}")
    assert (result.differences, result.refused) == ((), ())


def test_messages_and_hops_of_a_calm_load_are_counted(campaign: CampaignRun) -> None:
    traffic = campaign.scenarios["calm"].traffic
    assert traffic is not None
    for coupling in ("async_api", "one_way", "request_reply"):
        assert traffic.couplings[coupling].requests >= len(FLOWS)
        assert traffic.couplings[coupling].replies >= len(FLOWS)
    assert all(hop.calls > 0 and hop.mean_ms > 0 for hop in traffic.sync_hops.values())


def test_the_plans_reach_equal_outcomes_without_a_fault(campaign: CampaignRun) -> None:
    calm = campaign.scenarios["calm"]
    hashes = {result.outcome_hash for result in calm.results}
    assert len(hashes) == 1 or campaign.verdict.doubts, hashes
    assert calm.outcome_hashes_equal is (len(hashes) == 1)


def test_plans_that_wait_bridge_the_outage_and_the_matrix_has_its_row(campaign: CampaignRun) -> None:
    down = campaign.scenarios["pricing_down"]
    assert down.fault_window is not None
    assert down.fault_window.took_effect, down.fault_window.evidence
    waiting = [result for result in down.results if waits_for("pricing", result)]
    assert len(waiting) >= 3
    assert [result.ledger.unanswered for result in waiting] == [0] * len(waiting)
    (row,) = campaign.report.matrix
    assert (row.scenario, row.not_measured_reason, len(row.cells)) == ("pricing_down", "", len(PLANS))


def test_riders_beyond_the_capacity_are_refused_with_a_retry_after_that_is_true(campaign: CampaignRun) -> None:
    overload = campaign.scenarios["overload"].overload
    retries = campaign.scenarios["overload"].retries
    assert overload is not None
    assert retries is not None
    assert overload.capacity_per_s == max(level.settled_per_s for level in campaign.report.capacity_levels)
    assert campaign.scenarios["overload"].arrivals.rate_per_s == pytest.approx(
        OVERLOAD_FACTOR * overload.capacity_per_s
    )
    assert overload.refusals >= retries.riders > 0
    assert overload.refusals_without_retry_after == 0


def test_the_same_load_without_back_pressure_is_admitted_whole(campaign: CampaignRun) -> None:
    protected, unprotected = (campaign.scenarios[name] for name in ("overload", UNPROTECTED))
    assert unprotected.overload is not None
    assert not unprotected.overload.back_pressure
    assert unprotected.arrivals == protected.arrivals
    rides = {
        name: {(sample.label, sample.ride) for sample in campaign.samples if sample.scenario == name}
        for name in ("overload", UNPROTECTED)
    }
    assert rides["overload"] == rides[UNPROTECTED]
    refusals = [refusal for sample in campaign.samples for refusal in sample.refusals if sample.scenario == UNPROTECTED]
    assert [refusal for refusal in refusals if refusal.reason.startswith("overloaded")] == []
