"""The long use of an outbox, in short: what is sent is forgotten meanwhile, and a claim costs what it cost at first."""

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
SHORT = ("--rows", str(ROWS), "--retention", "0.5", "--purge-interval", "0.25", "--json")


@pytest.mark.real
def test_what_is_sent_is_forgotten_and_a_claim_does_not_get_dearer(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "PREBOOK_STACK"}
    ran = subprocess.run(
        [*LAB, *SHORT], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False
    )
    assert ran.returncode in {0, 1}, ran.stderr
    told: dict[str, Any] = json.loads(ran.stdout)
    looks = told["result"]["samples"]
    assert len(looks) == SAMPLE_COUNT
    assert [look["rows"] for look in looks] == sorted(look["rows"] for look in looks)
    assert looks[-1]["rows"] >= ROWS
    assert told["result"]["purged"] + looks[-1]["size"]["rows"] >= ROWS, "every row was staged, and is purged or there"
    assert told["result"]["purged"] > 0
    # A claim that looked at all that was ever sent would touch several times the pages.
    assert told["claim_cost_ratio"] < 1.5
    assert (ran.returncode == 0) is told["within_limits"], "the status says whether a run of this length holds"


def look(pages: float, megabytes: int) -> TableSample:
    size = OutboxTableSize(rows=1, table_bytes=megabytes * 1_000_000, index_bytes=0, dead_rows=0, vacuums=1)
    return TableSample(rows=1, rate_per_s=1, size=size, claim_cost=ClaimCost(pages=pages, ms=1.0))


def outcome(*looks: TableSample) -> RetentionResult:
    return RetentionResult(retention_s=1.0, purged=1, samples=list(looks))


def test_growth_is_judged_from_the_middle_on_since_a_window_must_fill_first() -> None:
    assert outcome(look(100, 10), look(100, 200), look(100, 200), look(100, 200)).within_limits
    assert not outcome(look(100, 10), look(100, 20), look(100, 30), look(100, int(20 * MAX_GROWTH) + 1)).within_limits


def test_a_dearer_claim_is_told() -> None:
    assert outcome(look(100, 10), look(100 * MAX_CLAIM_COST_RATIO, 10)).within_limits
    assert not outcome(look(100, 10), look(100 * MAX_CLAIM_COST_RATIO + 1, 10)).within_limits
