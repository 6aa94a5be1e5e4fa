"""Builders of scenario reports for tests of the verdict and the failure matrix."""

from prebook.lab.faults import FaultWindow
from prebook.lab.ledger.reconciliation import Ledger
from prebook.lab.load.plans import PLANS
from prebook.lab.quantiles import LatencySummary, latency_summary
from prebook.lab.report.model import (
    ArrivalsLine,
    FaultLine,
    GeneratorLag,
    PlanResult,
    RideLatencies,
    ScenarioReport,
    Timeline,
)
from tests.lab.ledger.accounts_builder import START, at

OFFERED = 40


def latency_around(median_ms: float) -> LatencySummary:
    return latency_summary(median_ms + step / 100 for step in range(-20, 20))


def result(
    label: str, outcome_ms: float = 20.0, *, ledger: Ledger | None = None, recovery_s: float | None = None
) -> PlanResult:
    return PlanResult(
        label=label,
        plan=PLANS[label],
        ledger=ledger or Ledger(offered=OFFERED, confirmed=OFFERED),
        latency_ms=RideLatencies(
            accepted=latency_around(10), settled=latency_around(outcome_ms), notified=latency_around(outcome_ms + 1)
        ),
        recovery_s=recovery_s,
        errors={"timeout": 0},
        outcome_hash="0" * 64,
    )


def scenario(*results: PlanResult, fault: bool = False, took_effect: bool = True) -> ScenarioReport:
    window = FaultWindow(started_at=START, ended_at=at(1), took_effect=took_effect, evidence="test")
    return ScenarioReport(
        name="pricing_down" if fault else "calm",
        expectation="",
        fault=FaultLine(kind="kill", target="pricing", start_s=0, duration_s=1) if fault else None,
        arrivals=ArrivalsLine(process="poisson", rate_per_s=20, duration_s=10),
        results=results,
        fault_window=window if fault else None,
        generator=GeneratorLag(lag_ms=latency_around(1), lagged=False),
        settle_s=0.5,
        outcome_hashes_equal=True,
        discrepancies=(),
        timeline=Timeline(started_at=START, bin_s=1, offered={}, answered={}),
    )
