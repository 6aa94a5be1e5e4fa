"""`prebook report verify`: every printed number follows from the raw results, and a changed one is named."""

import asyncio
import lzma
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from prebook.devstack.errors import UserError
from prebook.lab.campaign.campaign_report import campaign_report
from prebook.lab.campaign.raw_results import RAW_FILE, RawCampaign, encode_raw, read_raw
from prebook.lab.campaign.report_files import derived_files, report_files
from prebook.lab.report.markup import VOID
from prebook.lab.report.numbers import number_ids
from prebook.lab.verification.claims import ClaimStatus
from prebook.lab.verification.command import report
from prebook.lab.verification.folder import FolderVerification, verify_folder
from prebook.lab.verification.rerun import Rerun
from tests.lab.campaign.campaign_runs import measure_campaign
from tests.lab.stub_suite import StubSuite

ID = "calm.sync_api.ledger.offered"


@pytest.fixture(scope="module")
def raw() -> RawCampaign:
    return asyncio.run(measure_campaign(StubSuite(), "calm", "pricing_down"))


@pytest.fixture
def folder(raw: RawCampaign, tmp_path: Path) -> Path:
    for name, content in report_files(raw).items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_a_report_as_written_is_verified_whole(folder: Path, raw: RawCampaign) -> None:
    result = verify_folder(folder)
    assert (result.differences, result.refused, result.ok) == ((), (), True)
    assert set(result.checked) == set(derived_files(raw))
    assert result.checked["report.json"] == len(number_ids(campaign_report(raw))) > 300
    assert result.checked["report.html"] > 100


def test_raw_results_survive_the_file(folder: Path, raw: RawCampaign) -> None:
    assert read_raw(folder) == raw


def changed(folder: Path, name: str, old: str, new: str) -> FolderVerification:
    """Replace the first match of a regular expression in one file, and verify."""
    path = folder / name
    text, count = re.subn(old, new, path.read_text(), count=1)
    assert count == 1
    path.write_text(text)
    return verify_folder(folder)


def test_a_changed_number_in_the_json_is_named_with_both_values(folder: Path) -> None:
    offered = read_raw(folder)
    count = sum(sample.label == "sync_api" for sample in offered.scenarios[0].samples)
    result = changed(folder, "report.json", r'"offered": \d+', '"offered": 9999')
    (difference,) = result.differences
    assert (difference.file, difference.id) == ("report.json", ID)
    assert (difference.printed, difference.recomputed) == (9999, count)


def test_a_changed_number_on_the_page_is_named_with_both_values(folder: Path) -> None:
    result = changed(folder, "report.html", rf'id="{re.escape(ID)}">\d+<', f'id="{ID}">9999<')
    (difference,) = result.differences
    assert (difference.file, difference.id, difference.printed) == ("report.html", ID, "9999")


def test_a_change_outside_of_the_numbers_of_a_page_is_found(folder: Path) -> None:
    result = changed(folder, "report.html", r' r="5.5"', ' r="9.5"')
    assert [each.id for each in result.differences] == ["whole file"]


def test_a_changed_line_of_the_text_is_found(folder: Path) -> None:
    result = changed(folder, "report.txt", r"sync_api  +\d", "sync_api 9")
    assert [each.file for each in result.differences] == ["report.txt"]


def test_a_changed_sample_is_named(folder: Path) -> None:
    result = changed(folder, "samples.jsonl", r'"lag_ms":[\d.e-]+', '"lag_ms":99.5')
    (difference,) = result.differences
    assert difference.id.endswith(".lag_ms")
    assert difference.printed == 99.5


def test_other_raw_results_change_the_numbers(folder: Path, raw: RawCampaign) -> None:
    calm = raw.scenarios[0]
    fewer = msgspec.structs.replace(calm, samples=calm.samples[1:])
    (folder / RAW_FILE).write_bytes(encode_raw(msgspec.structs.replace(raw, scenarios=(fewer, *raw.scenarios[1:]))))
    files = {each.file for each in verify_folder(folder).differences}
    assert files == {"report.json", "report.html", "report.txt", "samples.jsonl"}


def test_a_run_with_clocks_that_disagree_is_refused(folder: Path, raw: RawCampaign) -> None:
    calm = raw.scenarios[0]
    row = calm.rows[0]
    late = msgspec.structs.replace(row, accepted_at=row.accepted_at.replace(year=row.accepted_at.year + 1))
    skewed = msgspec.structs.replace(raw, scenarios=(msgspec.structs.replace(calm, rows=(late, *calm.rows[1:])),))
    for name, content in report_files(skewed).items():
        (folder / name).write_bytes(content)
    result = verify_folder(folder)
    assert result.differences == ()
    assert not result.ok
    assert "clock deviates" in result.refused[0]


@pytest.mark.parametrize("content", [b"", b"not compressed", lzma.compress(b'{"schema": "prebook.raw/0"}')])
def test_unreadable_raw_results_are_an_error_with_a_remedy(folder: Path, content: bytes) -> None:
    (folder / RAW_FILE).write_bytes(content)
    with pytest.raises(UserError, match="raw results"):
        verify_folder(folder)


def test_the_exit_status_tells_whether_a_number_differs(folder: Path) -> None:
    assert CliRunner().invoke(report, ["verify", str(folder)]).exit_code == 0
    changed(folder, "report.json", r'"offered": \d+', '"offered": 9999')
    done = CliRunner().invoke(report, ["verify", str(folder)])
    assert done.exit_code == 1
    assert ID in done.output
    assert "9999" in done.output


def test_claims_of_two_runs_stand_side_by_side(folder: Path, raw: RawCampaign) -> None:
    done = CliRunner().invoke(report, ["rerun", str(folder), "--with", str(folder), "--json"])
    rerun = msgspec.json.decode(done.stdout, type=Rerun)
    assert all(line.earlier == line.rerun for line in rerun.claims)
    assert (rerun.earlier_run_id, rerun.rerun_id) == (raw.run_id, raw.run_id)
    statuses = {line.name: line.rerun.status for line in rerun.claims}
    assert statuses["nothing-lost-pricing_down"] is ClaimStatus.HELD
    assert statuses["database-needed"] is ClaimStatus.NOT_MEASURABLE
    assert done.exit_code == (1 if ClaimStatus.NOT_HELD in statuses.values() else 0)


def test_json_without_a_second_run_is_a_usage_error(folder: Path) -> None:
    done = CliRunner().invoke(report, ["rerun", str(folder), "--json"])
    assert done.exit_code == 2
    assert "--with" in done.output


class NumbersWithoutId(HTMLParser):
    """Collects texts with a digit that no element with an id of its own contains."""

    EXEMPT_CLASSES = frozenset({"tick", "expect", "legend"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, str | None, str | None]] = []
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append((tag, dict(attrs).get("id"), dict(attrs).get("class")))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        is_constant = any(
            tag in {"style", "footer", "figcaption"} or css in self.EXEMPT_CLASSES for tag, _, css in self.open
        )
        has_id = any(number_id and (tag == "title" or "." in number_id) for tag, number_id, _ in self.open)
        if re.search(r"(?<!p)\d+", re.sub(r"\bp\d\d\b", "", data)) and not is_constant and not has_id:
            self.found.append(f"{self.open[-1]}: {data}")


def test_every_number_on_the_page_has_an_id(raw: RawCampaign) -> None:
    page = derived_files(raw)["report.html"].decode()
    parser = NumbersWithoutId()
    parser.feed(page)
    assert parser.found == []
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)), "ids are unique"
