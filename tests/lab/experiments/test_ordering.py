"""The ordering experiment as a program, with a small load."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

LAB = (sys.executable, "-m", "prebook.cli", "lab", "order")
KEYS = 12
PER_KEY = 8
FAILING = 4
pytestmark = [pytest.mark.real, pytest.mark.long]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    sizes = ("--keys", str(KEYS), "--per-key", str(PER_KEY), "--failing", str(FAILING), "--rounds", "1")
    completed = subprocess.run(
        (*LAB, "--json", *sizes),
        env={name: value for name, value in os.environ.items() if name != "PREBOOK_STACK"},
        cwd=tmp_path_factory.mktemp("lab"),
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    report: dict[str, Any] = json.loads(completed.stdout)
    return report


def test_competing_consumers_violate_the_order_and_groups_keep_it(report: dict[str, Any]) -> None:
    violations = {each["name"]: each["violations"] for each in report["strategies"]}
    assert violations.pop("competing_consumers") > 0
    assert violations == {"message_groups": 0, "one_global_group": 0}


def test_failures_and_a_killed_consumer_lose_and_double_nothing(report: dict[str, Any]) -> None:
    for result in report["rounds"]:
        assert result["failed"] == FAILING
        assert result["deliveries"] >= KEYS * PER_KEY + FAILING, "each failed message is delivered once more"
        assert result["killed_after"] < KEYS * PER_KEY, "the consumer is killed during the run"
        assert (result["lost"], result["duplicated"]) == (0, 0)


def test_a_failure_stalls_more_keys_in_one_global_group(report: dict[str, Any]) -> None:
    stalled_keys = {each["name"]: each["stalled_keys"] for each in report["strategies"]}
    assert stalled_keys["message_groups"] < stalled_keys["one_global_group"]
