"""The glossary is usable: every file exists, every term has one line, and the lines are sorted."""

from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
COLUMNS = ("term", "meaning", "source", "file")
REQUIRED_TERMS = (
    "conversation id",
    "coupling",
    "fault proxy",
    "flow",
    "handoff",
    "hash slot",
    "partition",
    "plan",
    "route",
)


def rows() -> list[tuple[str, ...]]:
    """Cells of each line of the table, without its head."""
    lines = [line for line in GLOSSARY.read_text().splitlines() if line.startswith("|")]
    cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    assert cells[0] == COLUMNS
    return cells[2:]


def test_every_line_has_every_column() -> None:
    assert [row for row in rows() if len(row) != len(COLUMNS) or not all(row)] == []


def test_every_term_has_one_line() -> None:
    assert [term for term, count in Counter(row[0].casefold() for row in rows()).items() if count > 1] == []


def test_terms_are_sorted() -> None:
    terms = [row[0].casefold() for row in rows()]
    assert terms == sorted(terms)


def test_every_meaning_is_a_sentence() -> None:
    assert [row[0] for row in rows() if not row[1].endswith(".") or not row[1][0].isupper()] == []


def test_every_file_exists() -> None:
    assert [f"{row[0]}: {row[3]}" for row in rows() if not (ROOT / row[3].strip("`")).is_file()] == []


@pytest.mark.parametrize("term", REQUIRED_TERMS)
def test_a_central_term_is_defined(term: str) -> None:
    assert term in {row[0] for row in rows()}
