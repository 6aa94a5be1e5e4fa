"""Whole campaigns against the stand-in: open loop, planted losses and doubles, faults, exit status, the report."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator, FormatChecker

from loadtest.campaign import Campaign, Terms
from loadtest.generator import Generator, Origin, open_session, prepare
from loadtest.offers import interleave
from loadtest.plans import PLANS
from loadtest.progress import Progress
from loadtest.report import Report
from loadtest.rides import campaign_week
from loadtest.scenarios import SCENARIOS
from tests.loadtest.books import START
from tests.loadtest.standin import StandIn, serving

LABELS = tuple(PLANS)
ROOT = Path(__file__).parents[2]


async def play(suite: StandIn, *names: str, settle_s: float = 3.0, duration_s: float = 1.0) -> Report:
    terms = Terms([SCENARIOS[name] for name in names], 7, 40.0, duration_s, settle_s)
    async with serving(suite), open_session() as session:
        return await Campaign(suite.settings, terms, session, Progress()).play()


def schema_errors(report: bytes) -> list[str]:
    schema = msgspec.json.decode((resources.files("loadtest") / "assets" / "report.schema.json").read_bytes())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    return [error.message for error in validator.iter_errors(msgspec.json.decode(report))]


async def test_a_suite_that_stalls_slows_no_arrival_and_its_stall_is_in_every_latency() -> None:
    offers = interleave([i / 50 for i in range(25)], LABELS, "7")
    orders = prepare(offers, run="run", scenario="calm", seed=7, week=campaign_week(START))
    async with serving(StandIn(stall_s=1.0)) as suite, open_session() as session:
        generator = Generator(session, suite.url, "calm")
        origin = Origin.now().later(0.1)
        samples = await generator.offer(orders, origin)
        arrived = max(suite.arrived) - min(suite.arrived)
    assert len(samples) == 25
    assert arrived < 0.95, "25 arrivals are planned within 0.48 s; a closed loop would have waited for the answers"
    assert all((sample.accept_ms or 0) >= 1000 for sample in samples)


async def test_latency_counts_from_the_intended_moment_not_from_the_sending() -> None:
    orders = prepare(interleave([0.0] * 5, LABELS, "7"), run="r", scenario="calm", seed=7, week=campaign_week(START))
    async with serving(StandIn()) as suite, open_session() as session:
        late = Origin.now().later(-0.7)
        samples = await Generator(session, suite.url, "calm").offer(orders, late)
    assert all(sample.lag_ms >= 700 and (sample.accept_ms or 0) > sample.lag_ms for sample in samples)


async def test_a_request_that_takes_too_long_is_a_timeout_and_made_once_only() -> None:
    orders = prepare(interleave([0.0] * 5, LABELS, "7"), run="r", scenario="calm", seed=7, week=campaign_week(START))
    async with serving(StandIn(stall_s=5.0)) as suite, open_session(timeout_s=0.3) as session:
        samples = await Generator(session, suite.url, "calm").offer(orders, Origin.now())
        assert len(suite.arrived) == len(orders)
    assert {(sample.error, sample.status) for sample in samples} == {("timeout", None)}


async def test_nobody_listening_is_a_failed_ride_and_no_crash() -> None:
    orders = prepare(interleave([0.0] * 5, LABELS, "7"), run="r", scenario="calm", seed=7, week=campaign_week(START))
    async with open_session() as session:
        samples = await Generator(session, "http://127.0.0.1:9", "calm").offer(orders, Origin.now())
    assert {sample.error for sample in samples} == {"connection"}


async def test_a_sound_suite_balances_and_comes_to_equal_outcomes() -> None:
    report = await play(StandIn(), "calm")
    calm = report.scenarios[0]
    assert report.verdict is not None
    assert report.verdict.ok
    assert calm.outcome_hashes_equal
    assert calm.totals["offered"] == calm.totals["confirmed"] >= 25
    assert len({result.ledger.offered for result in calm.results}) == 1
    assert all(result.latency_ms.outcome.p50 >= 20 for result in calm.results)
    assert not schema_errors(msgspec.json.encode(report))


def of_one_way(key: str) -> bool:
    return "-one_way-" in key and key.endswith("00002")


def pair(key: str) -> bool:
    return key.endswith("00002") and ("-one_way-" in key or "-mixed-" in key)


@pytest.mark.parametrize(
    ("planted", "counted", "which"),
    [
        ("lose_row", "lost", of_one_way),
        ("leave_untold", "lost", of_one_way),
        ("tell_twice", "duplicated_effects", of_one_way),
        ("one_driver", "duplicated_effects", pair),
        ("never_settle", "in_flight", of_one_way),
    ],
)
async def test_what_was_planted_is_found_and_makes_the_run_red(
    planted: str, counted: str, which: Callable[[str], bool]
) -> None:
    mishap: dict[str, Any] = {planted: which}
    report = await play(StandIn(**mishap), "calm", settle_s=1.0)
    assert report.verdict is not None
    assert not report.verdict.ok
    assert report.scenarios[0].totals[counted] == 1
    assert not schema_errors(msgspec.json.encode(report))


async def test_a_kill_is_seen_from_outside_and_splits_the_plans() -> None:
    report = await play(StandIn(), "pricing_down", duration_s=2.0)
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
    monkeypatch.setattr("loadtest.faults.RETURN_DEADLINE_S", 0.5)
    report = await play(StandIn(deaf=True), name)
    assert report.verdict is not None
    assert not report.verdict.ok
    assert any("did not take effect" in line for line in report.verdict.problems)


async def run_program(suite: StandIn, folder: Path, *arguments: str) -> tuple[int, str, str]:
    program = await start_program(suite, folder, *arguments)
    out, err = await asyncio.wait_for(program.communicate(), 60)
    return program.returncode or 0, out.decode(), err.decode()


async def start_program(suite: StandIn, folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "loadtest", "campaign", "--report", str(folder), *arguments]
    pipe = asyncio.subprocess.PIPE
    environ = {**os.environ, **suite.environ}
    return await asyncio.create_subprocess_exec(*command, env=environ, cwd=ROOT, stdout=pipe, stderr=pipe)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


CALM = ("--settle", "1", "--scenario", "calm", "--duration", "1", "--rate", "40")


async def test_the_program_writes_the_report_and_leaves_with_0(tmp_path: Path) -> None:
    async with serving(StandIn()) as suite:
        status, out, err = await run_program(suite, tmp_path / "new", *CALM, "--json")
    assert (status, schema_errors(out.encode())) == (0, []), err
    assert names_in(tmp_path / "new") == ["report.html", "report.json", "samples.jsonl"]
    written = (tmp_path / "new" / "report.json").read_bytes()
    assert msgspec.json.decode(written) == msgspec.json.decode(out)
    offered = msgspec.json.decode(written, type=Report).scenarios[0].totals["offered"]
    assert len((tmp_path / "new" / "samples.jsonl").read_bytes().splitlines()) == offered


async def test_the_program_leaves_with_1_and_says_which_booking_is_lost(tmp_path: Path) -> None:
    async with serving(StandIn(lose_row=of_one_way)) as suite:
        status, out, _ = await run_program(suite, tmp_path, *CALM)
    assert status == 1
    assert "1 lost (bk_" in out.replace("\n", " ")


async def test_a_suite_that_is_not_there_is_named_with_the_remedy(tmp_path: Path) -> None:
    status, _, err = await run_program(StandIn(url="http://127.0.0.1:9"), tmp_path, *CALM)
    assert status == 1
    assert "booking does not answer" in err
    assert "prebook doctor" in err
    assert not names_in(tmp_path)


async def test_a_folder_that_cannot_be_written_is_said_before_anything_is_offered(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with serving(StandIn()) as suite:
        status, _, err = await run_program(suite, tmp_path / "file" / "report", *CALM)
    assert (status, suite.arrived) == (1, [])
    assert "--report" in err


async def test_an_interrupt_leaves_no_half_written_report(tmp_path: Path) -> None:
    async with serving(StandIn()) as suite:
        program = await start_program(suite, tmp_path, "--scenario", "calm", "--duration", "30")
        async with asyncio.timeout(20):
            while not suite.arrived:
                await asyncio.sleep(0.05)
        program.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(program.communicate(), 20)
    assert program.returncode == 130
    assert b"no report was written" in err
    assert not names_in(tmp_path)
