"""Writer of report files: each is replaced atomically, ``report.json`` last."""

import os
import tempfile
from pathlib import Path

import msgspec

from prebook.devstack.errors import UserError
from prebook.lab.load.samples import Sample, encode_samples
from prebook.lab.report import html
from prebook.lab.report.model import CampaignReport


class ReportFolderUnusable(UserError):
    """The report folder is not writable; raised before any ride is offered."""


def prepare_folder(folder: Path) -> None:
    """Create the folder if necessary and check that it is writable. Raises ReportFolderUnusable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ReportFolderUnusable(f"cannot write to {folder} ({error})", "choose another with --report DIR") from error


def write_report(folder: Path, report: CampaignReport, samples: list[Sample]) -> Path:
    """Write report and samples; return the path of ``report.html``. Files of an earlier run are replaced."""
    files = {
        "samples.jsonl": encode_samples(samples),
        "report.html": html.page(report).encode(),
        "report.json": msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n",
    }
    for name, content in files.items():
        replace_file(folder / name, content)
    return folder / "report.html"


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file atomically."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
