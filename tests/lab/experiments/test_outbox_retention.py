"""The outbox-retention experiment, shortened: sent rows are purged and claims stay cheap."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prebook.lab.experiments.outbox_retention.experiment import (
    MAX_CLAIM_COST_RATIO,
    MAX_GROWTH,
    SAMPLE_COUNT,
    RetentionResult,
    TableSample,
)
from prebook.lab.experiments.outbox_retention.table_probe import ClaimCost, OutboxTableSize

ROWS = 20_000
LAB = (sys.executable, "-m", "prebook.cli", "lab", "outbox-retention")
SMALL_RUN = ("--rows", str(ROWS), "--retention", "0.5", "--purge-interval", "0.25", "--json")


@pytest.mark.real
@pytest.mark.long
def test_sent_rows_are_purged_and_claims_do_not_get_more_expensive(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "PREBOOK_STACK"}
    completed = subprocess.run(
        [*LAB, *SMALL_RUN], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False
    )
    assert completed.returncode in {0, 1}, completed.stderr
    report: dict[str, Any] = json.loads(completed.stdout)
    samples = report["result"]["samples"]
    assert len(samples) == SAMPLE_COUNT
    assert [sample["rows"] for sample in samples] == sorted(sample["rows"] for sample in samples)
    assert samples[-1]["rows"] >= ROWS
    assert report["result"]["purged"] + samples[-1]["size"]["rows"] >= ROWS, "every row is either purged or still there"
    assert report["result"]["purged"] > 0
    # A claim that scanned all rows ever sent would touch several times the pages.
    assert report["claim_cost_ratio"] < 1.5
    assert (completed.returncode == 0) is report["within_limits"], "the exit status reports the limits"


def sample(pages: float, megabytes: int) -> TableSample:
    size = OutboxTableSize(rows=1, table_bytes=megabytes * 1_000_000, index_bytes=0, dead_rows=0, vacuums=1)
    return TableSample(rows=1, rate_per_s=1, size=size, claim_cost=ClaimCost(pages=pages, ms=1.0))


def retention_result(*samples: TableSample) -> RetentionResult:
    return RetentionResult(retention_s=1.0, purged=1, samples=list(samples))


def test_growth_is_measured_from_the_middle_when_the_retention_window_is_full() -> None:
    assert retention_result(sample(100, 10), sample(100, 200), sample(100, 200), sample(100, 200)).within_limits
    assert not retention_result(
        sample(100, 10), sample(100, 20), sample(100, 30), sample(100, int(20 * MAX_GROWTH) + 1)
    ).within_limits


def test_a_more_expensive_claim_exceeds_the_limits() -> None:
    assert retention_result(sample(100, 10), sample(100 * MAX_CLAIM_COST_RATIO, 10)).within_limits
    assert not retention_result(sample(100, 10), sample(100 * MAX_CLAIM_COST_RATIO + 1, 10)).within_limits
