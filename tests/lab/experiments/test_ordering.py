"""The comparison as a user runs it, small."""

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
pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    sizes = ("--keys", str(KEYS), "--per-key", str(PER_KEY), "--failing", str(FAILING), "--rounds", "1")
    ran = subprocess.run(
        (*LAB, "--json", *sizes),
        env={name: value for name, value in os.environ.items() if name != "PREBOOK_STACK"},
        cwd=tmp_path_factory.mktemp("lab"),
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told: dict[str, Any] = json.loads(ran.stdout)
    return told


def test_competing_consumers_break_the_order_and_groups_keep_it(report: dict[str, Any]) -> None:
    violations = {one["name"]: one["violations"] for one in report["strategies"]}
    assert violations.pop("competing_consumers") > 0
    assert violations == {"message_groups": 0, "one_global_group": 0}


def test_a_failure_and_the_end_of_a_consumer_took_effect_everywhere_and_cost_nothing(report: dict[str, Any]) -> None:
    for one in report["rounds"]:
        assert one["failed"] == FAILING
        assert one["deliveries"] >= KEYS * PER_KEY + FAILING, "each of them was handled once more"
        assert one["killed_after"] < KEYS * PER_KEY, "the consumer was killed on the way"
        assert (one["lost"], one["doubled"]) == (0, 0)


def test_a_failure_stops_the_world_only_where_everything_is_one_group(report: dict[str, Any]) -> None:
    still = {one["name"]: one["stalled_keys"] for one in report["strategies"]}
    assert still["message_groups"] < still["one_global_group"]
