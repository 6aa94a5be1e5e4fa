"""Quotes: passages of documents whose numbers come from a run. Pure.

A quote is the passage with an id in braces in place of each number, such as ``{calm.sync_api.ledger.offered}`` or
``{calm.sync_api.latency_ms.settled.p50:.0f}`` with a format specification of Python.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from prebook.lab.report.numbers import Value
from prebook.lab.verification.comparison import ABSENT, Difference

PLACEHOLDER = re.compile(r"\{([\w.]+)(?::([^{}]*))?\}")
NUMBER = r"(-?[\d,]*\.?\d+)"
TEXT = r"([^|\n]+?)"
EXCERPT_LENGTH = 60


class Quote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A passage of a page."""

    page: str
    """Path of the page, relative to the folder of the run."""
    text: str
    """The passage, with ids in braces."""
    section: str = ""
    """Heading of a section in which every number must be in a quote; empty for none."""


class QuoteFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of quotes.toml."""

    quote: tuple[Quote, ...]


@dataclass(frozen=True)
class Placeholder:
    """An id in a quote, and the text that the page must have in its place."""

    id: str
    expected: str
    pattern: str


def compare_quotes(
    page: str, text: str, quotes: Sequence[Quote], numbers: Mapping[str, Value]
) -> tuple[int, list[Difference]]:
    """Return how many numbers the quotes of one page have, and the differences.

    A number without an id in a section that must have none is a difference, too.
    """
    count = 0
    differences: list[Difference] = []
    for quote in quotes:
        literals, placeholders = parse_quote(quote.text, numbers)
        count += len(placeholders)
        match = re.search(passage_pattern(literals, placeholders), text)
        if match is None:
            missing = unmatched_excerpt(literals, placeholders, text)
            differences.append(Difference(file=page, id="passage", printed=ABSENT, recomputed=missing))
            continue
        differences += differing_numbers(page, placeholders, match.groups())
        text = text[: match.start()] + " " + text[match.end() :]
    for section in filter(None, (quote.section for quote in quotes)):
        differences += unquoted_numbers(page, section, text)
    return count, differences


def parse_quote(text: str, numbers: Mapping[str, Value]) -> tuple[list[str], list[Placeholder]]:
    """Return the literal parts of a quote, and the placeholders between them."""
    parts = PLACEHOLDER.split(text.strip())
    ids = parts[1::3]
    formats = parts[2::3]
    return parts[0::3], [placeholder(each, spec or "", numbers) for each, spec in zip(ids, formats, strict=True)]


def placeholder(number_id: str, spec: str, numbers: Mapping[str, Value]) -> Placeholder:
    """Return the placeholder with the text that it stands for; an unknown id stands for ABSENT."""
    value = numbers.get(number_id, ABSENT)
    is_number = isinstance(value, int | float)
    expected = format(value, spec) if is_number else str(value)
    return Placeholder(number_id, expected, NUMBER if is_number else TEXT)


def passage_pattern(literals: Sequence[str], placeholders: Sequence[Placeholder]) -> str:
    """Return a regular expression for the passage; any white space stands for any other."""
    patterns = [*(each.pattern for each in placeholders), ""]
    return "".join(literal_pattern(literal) + pattern for literal, pattern in zip(literals, patterns, strict=True))


def literal_pattern(literal: str) -> str:
    """Return a regular expression for a literal part."""
    return re.sub(r"(?:\\\s|\s)+", r"\\s+", re.escape(literal))


def differing_numbers(page: str, placeholders: Sequence[Placeholder], printed: Sequence[str]) -> Iterator[Difference]:
    """Yield the placeholders in whose place the page has another text."""
    for each, text in zip(placeholders, printed, strict=True):
        if text != each.expected:
            yield Difference(file=page, id=each.id, printed=text, recomputed=each.expected)


def unmatched_excerpt(literals: Sequence[str], placeholders: Sequence[Placeholder], text: str) -> str:
    """Return the beginning of the first literal part with which the passage is no longer found on the page."""
    for end in range(1, len(literals) + 1):
        if not re.search(passage_pattern(literals[:end], placeholders[: end - 1]), text):
            return " ".join(literals[end - 1].split())[:EXCERPT_LENGTH]
    return ""


def unquoted_numbers(page: str, section: str, text: str) -> Iterator[Difference]:
    """Yield the lines of a section that still have a number after all quotes were removed from the page."""
    _, found, rest = text.partition(f"## {section}\n")
    if not found:
        yield Difference(file=page, id=f"section {section}", printed=ABSENT, recomputed="present")
    for line in re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0].splitlines():
        if re.search(r"\d", line):
            yield Difference(file=page, id="number without an id", printed=line.strip(), recomputed=ABSENT)
