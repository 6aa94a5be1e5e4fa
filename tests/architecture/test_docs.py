"""Links and file names in the documentation are valid, and the README stays short."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_README_LINES = 150
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("README.md")])
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
SECTIONS = ("Decision", "Context", "Alternatives", "Consequences", "Files")
MAX_DECISION_LINES = 40
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
PAGE = re.compile(r"docs/[a-z_-]+/[a-z0-9_-]+\.(?:md|sql|json|svg)")
CODE = ("services", "shared", "loadtest", "migrations", "deploy", "tests")
FILE = re.compile(r"`([\w./-]+/[\w./-]*)`")


def _named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_named)
def test_every_link_has_an_existing_target(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if not _exists(page, link)] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= MAX_README_LINES


@pytest.mark.parametrize("page", DECISIONS, ids=_named)
def test_a_decision_has_its_sections_on_one_page(page: Path) -> None:
    text = page.read_text()
    assert [word for word in SECTIONS if f"**{word}.**" not in text] == []
    assert len(text.splitlines()) <= MAX_DECISION_LINES


@pytest.mark.parametrize("page", DECISIONS, ids=_named)
def test_a_decision_names_files_that_exist(page: Path) -> None:
    _, _, files = page.read_text().partition("**Files.**")
    assert FILE.findall(files)
    assert [path for path in FILE.findall(files) if not (ROOT / path).exists()] == []


def test_the_index_of_decisions_is_complete() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    assert [page.name for page in DECISIONS if f"({page.name})" not in index] == []


def test_code_names_pages_that_exist() -> None:
    """Comments and docstrings refer to pages by their path from the root."""
    files = [path for root in CODE for path in (ROOT / root).rglob("*") if path.suffix in {".py", ".sql", ".toml"}]
    found = {page for path in files for page in PAGE.findall(path.read_text())}
    assert [page for page in sorted(found) if not (ROOT / page).exists()] == []


def _exists(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path) if path else page
    if not target.exists():
        return False
    return not anchor or anchor in {_slug(heading) for heading in HEADING.findall(target.read_text())}


def _slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
