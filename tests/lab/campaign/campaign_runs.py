"""Run campaigns against a stub suite, in this process or as a program."""

import asyncio
import os
import sys
from pathlib import Path

from prebook.lab.campaign.campaign_report import campaign_report
from prebook.lab.campaign.progress import CampaignProgress
from prebook.lab.campaign.raw_results import RawCampaign
from prebook.lab.campaign.runner import Campaign, CampaignOptions
from prebook.lab.campaign.scenarios import SCENARIOS
from prebook.lab.faults import fault_access
from prebook.lab.load.generator import open_session
from prebook.lab.report.model import CampaignReport
from tests.lab.stub_suite import StubSuite, serve_stub

ROOT = Path(__file__).parents[3]


async def run_program(suite: StubSuite, folder: Path, *arguments: str) -> tuple[int, str, str]:
    program = await start_program(suite, folder, *arguments)
    out, err = await asyncio.wait_for(program.communicate(), 60)
    return program.returncode or 0, out.decode(), err.decode()


async def start_program(suite: StubSuite, folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "prebook.lab", "campaign", "--report", str(folder), *arguments]
    pipe = asyncio.subprocess.PIPE
    environ = {**os.environ, **suite.environ}
    return await asyncio.create_subprocess_exec(*command, env=environ, cwd=ROOT, stdout=pipe, stderr=pipe)


async def run_campaign(suite: StubSuite, *names: str, settle_s: float = 3.0, duration_s: float = 1.0) -> CampaignReport:
    return campaign_report(await measure_campaign(suite, *names, settle_s=settle_s, duration_s=duration_s))


async def measure_campaign(
    suite: StubSuite, *names: str, settle_s: float = 3.0, duration_s: float = 1.0
) -> RawCampaign:
    options = CampaignOptions([SCENARIOS[name] for name in names], 7, 40.0, duration_s, settle_s, max_lag_ms=60_000.0)
    async with serve_stub(suite), open_session() as session:
        return await Campaign(
            suite.settings, fault_access.read_fault_access(session, suite.environ), options, session, CampaignProgress()
        ).run()


def is_third_one_way_ride(key: str) -> bool:
    return "-one_way-" in key and key.endswith("00002")
