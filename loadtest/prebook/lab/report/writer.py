"""Where a report is put: each file whole or not at all, ``report.json`` last."""

import os
import tempfile
from pathlib import Path

import msgspec

from prebook.lab.errors import LabError
from prebook.lab.load.samples import Sample, encode_samples
from prebook.lab.report import html
from prebook.lab.report.model import CampaignReport


class ReportFolderUnusable(LabError):
    """The folder cannot be written to; says so before anything is offered."""


def prepare_folder(folder: Path) -> None:
    """Raises ReportFolderUnusable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ReportFolderUnusable(f"cannot write to {folder} ({error}). Choose another with --report DIR.") from error


def write_report(folder: Path, report: CampaignReport, samples: list[Sample]) -> Path:
    """Returns the path of ``report.html``. Files of an earlier run under these names are replaced."""
    files = {
        "samples.jsonl": encode_samples(samples),
        "report.html": html.page(report).encode(),
        "report.json": msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n",
    }
    for name, content in files.items():
        replace_file(folder / name, content)
    return folder / "report.html"


def replace_file(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
