"""Quotes: a page's numbers are compared with a run, and a number without an id is found."""

from pathlib import Path

import pytest

from prebook.devstack.errors import UserError
from prebook.lab.report.numbers import Value
from prebook.lab.verification.folder import read_quotes
from prebook.lab.verification.quotes import Quote, compare_quotes

NUMBERS: dict[str, Value] = {"calm.p50": 73.25, "calm.offered": 50, "stack.broker": "RabbitMQ 3.10"}
TEXT = "On {stack.broker}, {calm.offered} rides\nare settled in {calm.p50:.0f} ms (`503`)."
PAGE = "# Title\n\nOn RabbitMQ 3.10, 50\nrides are   settled in 73 ms (`503`).\n\n## Next\n\n7 more\n"


def compare(page: str, text: str = TEXT, section: str = "") -> list[tuple[str, Value, Value]]:
    quote = Quote(page="page.md", text=text, section=section)
    _, differences = compare_quotes("page.md", page, [quote], NUMBERS)
    return [(each.id, each.printed, each.recomputed) for each in differences]


def test_a_true_passage_has_no_difference_whatever_its_line_breaks() -> None:
    assert compare(PAGE) == []


def test_numbers_are_counted() -> None:
    count, _ = compare_quotes("page.md", PAGE, [Quote(page="page.md", text=TEXT)], NUMBERS)
    assert count == 3


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ("73 ms", "37 ms", ("calm.p50", "37", "73")),
        ("50\n", "1,050\n", ("calm.offered", "1,050", "50")),
        ("RabbitMQ 3.10", "RabbitMQ 4.1", ("stack.broker", "RabbitMQ 4.1", "RabbitMQ 3.10")),
    ],
)
def test_a_changed_number_is_named_with_both_values(old: str, new: str, difference: tuple[str, str, str]) -> None:
    assert compare(PAGE.replace(old, new)) == [difference]


def test_a_passage_that_is_not_there_is_named_by_what_follows_the_last_match() -> None:
    assert compare(PAGE.replace("settled", "decided")) == [("passage", "(absent)", "rides are settled in")]


def test_an_unknown_id_differs() -> None:
    assert compare("5 rides", "{calm.unknown} rides") == [("calm.unknown", "5", "(absent)")]


def test_a_number_without_an_id_is_found_in_a_section_that_must_have_none() -> None:
    page = PAGE.replace("# Title", "## Figures").replace("## Next", "And 12 others.\n\n## Next")
    assert compare(page, section="Figures") == [("number without an id", "And 12 others.", "(absent)")]


def test_a_section_that_is_not_there_is_a_difference() -> None:
    assert compare(PAGE, section="Figures")[0][0] == "section Figures"


def test_quotes_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "quotes.toml").write_text('[[quote]]\npage = "README.md"\n')
    with pytest.raises(UserError, match=r"quotes\.toml"):
        read_quotes(tmp_path)
