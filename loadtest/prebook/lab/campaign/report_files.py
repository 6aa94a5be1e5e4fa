"""The files of a report, computed from the raw results of a campaign."""

import io
from collections.abc import Mapping

import msgspec

from prebook.devstack.terminal import PlainConsole
from prebook.lab.campaign import terminal
from prebook.lab.campaign.campaign_report import campaign_report, samples_with_outcome
from prebook.lab.campaign.raw_results import RAW_FILE, RawCampaign, encode_raw
from prebook.lab.load.samples import SAMPLES_FILE, encode_samples
from prebook.lab.report import html
from prebook.lab.report.model import CampaignReport

CONSOLE_WIDTH = 150
"""Columns of the tables where no terminal has a width of its own."""
PAGE_FILE = "report.html"
JSON_FILE = "report.json"
TEXT_FILE = "report.txt"


def report_files(raw: RawCampaign) -> Mapping[str, bytes]:
    """Return name -> content of every file of a report; report.json is the last one."""
    return {RAW_FILE: encode_raw(raw), **derived_files(raw)}


def derived_files(raw: RawCampaign) -> Mapping[str, bytes]:
    """Return name -> content of the files that are computed from the raw results."""
    report = campaign_report(raw)
    return {
        SAMPLES_FILE: encode_samples(samples_with_outcome(raw)),
        PAGE_FILE: html.page(report).encode(),
        TEXT_FILE: plain_text(report).encode(),
        JSON_FILE: msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n",
    }


def plain_text(report: CampaignReport) -> str:
    """Return the results as the terminal shows them, without colours."""
    console = PlainConsole(file=io.StringIO(), width=CONSOLE_WIDTH, record=True)
    console.print(terminal.results(report))
    return console.export_text()
