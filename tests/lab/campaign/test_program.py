"""The campaign as a program: exit status, files, errors with a remedy, interruption without leftovers."""

import asyncio
import signal
from pathlib import Path

import msgspec

from prebook.lab.report.model import CampaignReport
from tests.lab.campaign.campaign_runs import is_third_one_way_ride, run_program, start_program
from tests.lab.report.schema import schema_errors
from tests.lab.stub_suite import StubSuite, serve_stub


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


CALM = ("--settle-timeout", "1", "--scenario", "calm", "--duration", "1", "--rate", "40")


async def test_the_program_writes_the_report_and_exits_with_0(tmp_path: Path) -> None:
    async with serve_stub(StubSuite()) as suite:
        status, out, err = await run_program(suite, tmp_path / "new", *CALM, "--json")
    assert (status, schema_errors(out.encode())) == (0, []), err
    assert names_in(tmp_path / "new") == [*("raw.json.xz", "report.html", "report.json", "report.txt", "samples.jsonl")]
    written = (tmp_path / "new" / "report.json").read_bytes()
    assert msgspec.json.decode(written) == msgspec.json.decode(out)
    offered = msgspec.json.decode(written, type=CampaignReport).scenarios[0].totals["offered"]
    assert len((tmp_path / "new" / "samples.jsonl").read_bytes().splitlines()) == offered


async def test_the_program_exits_with_1_and_names_the_lost_booking(tmp_path: Path) -> None:
    async with serve_stub(StubSuite(lose_row=is_third_one_way_ride)) as suite:
        status, out, _ = await run_program(suite, tmp_path, *CALM)
    assert status == 1
    assert "1 lost (bk_" in out.replace("\n", " ")


async def test_an_unreachable_suite_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    status, _, err = await run_program(StubSuite(url="http://127.0.0.1:9"), tmp_path, *CALM)
    assert status == 1
    assert "booking does not respond" in err
    assert "prebook doctor" in err
    assert not names_in(tmp_path)


async def test_an_unusable_report_folder_is_reported_before_any_ride_is_offered(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with serve_stub(StubSuite()) as suite:
        status, _, err = await run_program(suite, tmp_path / "file" / "report", *CALM)
    assert (status, suite.arrived) == (2, [])
    assert "--report" in err


async def test_an_interrupted_campaign_leaves_no_partial_report(tmp_path: Path) -> None:
    async with serve_stub(StubSuite()) as suite:
        program = await start_program(suite, tmp_path, "--scenario", "calm", "--duration", "30")
        async with asyncio.timeout(20):
            while not suite.arrived:
                await asyncio.sleep(0.05)
        program.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(program.communicate(), 20)
    assert program.returncode == 130
    assert b"no report was written" in err
    assert not names_in(tmp_path)


async def test_a_campaign_too_short_for_a_ride_fails(tmp_path: Path) -> None:
    async with serve_stub(StubSuite()) as suite:
        status, out, _ = await run_program(suite, tmp_path, "--scenario", "calm", "--duration", "0.1", "--rate", "1")
    assert status == 1
    assert "no ride was offered" in out
