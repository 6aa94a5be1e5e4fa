"""Verification of one report folder, and of the pages that quote it."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from prebook.devstack.errors import UserError
from prebook.lab.campaign.campaign_report import campaign_report
from prebook.lab.campaign.raw_results import read_raw
from prebook.lab.campaign.report_files import derived_files
from prebook.lab.report.model import CampaignReport
from prebook.lab.report.numbers import Value, number_ids
from prebook.lab.report.verdict import clock_problems
from prebook.lab.verification.comparison import Difference, compare_file
from prebook.lab.verification.quotes import Quote, QuoteFile, compare_quotes
from prebook.text_file import read_text

QUOTES_FILE = "quotes.toml"
"""File beside the raw results that lists the passages of documents with numbers of the run."""


class NothingToVerify(UserError):
    """A report folder holds no file with numbers, or its quotes cannot be read."""


class FolderVerification(msgspec.Struct, frozen=True, kw_only=True):
    """Result for one folder, as ``--json`` prints it."""

    schema: str = "prebook.verification/1"
    folder: str
    commit: str
    """Commit of the lab that ran the campaign."""
    checked: Mapping[str, int]
    """File -> how many of its numbers and texts were recomputed."""
    differences: tuple[Difference, ...]
    refused: tuple[str, ...]
    """Reasons why the run's numbers must not be used, although they follow from its raw results."""

    @property
    def ok(self) -> bool:
        """Whether every number is as recomputed, and may be used."""
        return not self.differences and not self.refused


def verify_folder(folder: Path) -> FolderVerification:
    """Recompute all numbers of the report in ``folder`` and of its quotes from the raw results.

    Raises:
        RawUnreadable: The raw results cannot be read.
        NothingToVerify: There is no file with numbers, or a quoted page cannot be read.
    """
    raw = read_raw(folder)
    report = campaign_report(raw)
    recomputed = derived_files(raw)
    results = {
        name: compare_file(name, (folder / name).read_bytes(), content)
        for name, content in recomputed.items()
        if (folder / name).is_file()
    }
    results.update(verify_quotes(folder, number_ids(report)))
    if not results:
        raise NothingToVerify(
            f"{folder} holds neither a report nor {QUOTES_FILE}", "give the report folder of a campaign"
        )
    return FolderVerification(
        folder=str(folder),
        commit=raw.commit,
        checked={name: count for name, (count, _) in results.items()},
        differences=tuple(each for _, differences in results.values() for each in differences),
        refused=tuple(refusals(report)),
    )


def verify_quotes(folder: Path, numbers: Mapping[str, Value]) -> Mapping[str, tuple[int, list[Difference]]]:
    """Return page -> number of quoted numbers and differences, for all pages that quote the run."""
    quotes = read_quotes(folder)
    pages = dict.fromkeys(quote.page for quote in quotes)
    return {
        page: compare_quotes(
            page, read_quoted_page(folder / page), [quote for quote in quotes if quote.page == page], numbers
        )
        for page in pages
    }


def read_quotes(folder: Path) -> Sequence[Quote]:
    """Return the quotes of a run; none without a file of quotes. Raises NothingToVerify."""
    path = folder / QUOTES_FILE
    if not path.is_file():
        return ()
    try:
        return msgspec.convert(tomllib.loads(read_text(path)), QuoteFile).quote
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise NothingToVerify(f"{path} cannot be read ({error})", "correct it, or remove it") from error


def read_quoted_page(path: Path) -> str:
    """Return the text of a page. Raises NothingToVerify."""
    try:
        return read_text(path)
    except OSError as error:
        raise NothingToVerify(f"a quoted page cannot be read ({error})", f"correct `page` in {QUOTES_FILE}") from error


def refusals(report: CampaignReport) -> Iterator[str]:
    """Yield why the numbers must not be used: clocks that disagree."""
    for scenario in report.scenarios:
        yield from clock_problems(scenario)
