"""Whole campaigns against the stand-in: planted losses, doubles and faults, and what the report says of them."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.lab.campaign.campaign_runs import of_one_way, play
from tests.lab.report.schema import schema_errors
from tests.lab.stub_suite import StubSuite


async def test_a_sound_suite_balances_and_comes_to_equal_outcomes() -> None:
    report = await play(StubSuite(), "calm")
    calm = report.scenarios[0]
    assert report.verdict is not None
    assert report.verdict.ok
    assert calm.outcome_hashes_equal
    assert calm.totals["offered"] == calm.totals["confirmed"] >= 25
    assert len({result.ledger.offered for result in calm.results}) == 1
    assert all(result.latency_ms.settled.p50 >= 20 for result in calm.results)
    assert sum(map(sum, calm.timeline.answered.values())) == calm.totals["confirmed"]
    assert not schema_errors(msgspec.json.encode(report))


def pair(key: str) -> bool:
    return key.endswith("00002") and ("-one_way-" in key or "-mixed-" in key)


@pytest.mark.parametrize(
    ("planted", "counted", "which"),
    [
        ("lose_row", "lost", of_one_way),
        ("skip_notification", "lost", of_one_way),
        ("notify_twice", "duplicated", of_one_way),
        ("share_driver", "duplicated", pair),
        ("never_settle", "in_flight", of_one_way),
    ],
)
async def test_what_was_planted_is_found_and_makes_the_run_red(
    planted: str, counted: str, which: Callable[[str], bool]
) -> None:
    mishap: dict[str, Any] = {planted: which}
    report = await play(StubSuite(**mishap), "calm", settle_s=1.0)
    assert report.verdict is not None
    assert not report.verdict.ok
    assert report.scenarios[0].totals[counted] == 1
    assert not schema_errors(msgspec.json.encode(report))


async def test_a_kill_is_seen_from_outside_and_splits_the_plans() -> None:
    report = await play(StubSuite(), "pricing_down", duration_s=2.0)
    down = report.scenarios[0]
    assert report.verdict is not None
    assert report.verdict.ok
    assert down.fault_window is not None
    assert "pid 100 killed, pid 101" in down.fault_window.evidence
    ledgers = {result.label: result.ledger for result in down.results}
    assert ledgers["sync_api"].refused > 0
    assert ledgers["one_way"].unanswered == ledgers["request_reply"].unanswered == 0
    assert not schema_errors(msgspec.json.encode(report))


@pytest.mark.parametrize("name", ["pricing_down", "pricing_slow"])
async def test_a_fault_that_did_not_take_effect_makes_the_run_red(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebook.lab.faults.processes.RESTART_TIMEOUT_S", 0.5)
    report = await play(StubSuite(ignore_commands=True), name)
    assert report.verdict is not None
    assert not report.verdict.ok
    assert any("did not take effect" in line for line in report.verdict.problems)
