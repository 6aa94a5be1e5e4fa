"""Numbers as the files of a report print them, each by its id. Pure."""

from collections.abc import Iterator, Mapping
from html.parser import HTMLParser

import msgspec

from prebook.lab.report.markup import VOID
from prebook.lab.report.numbers import Value, flatten


class ElementTexts(HTMLParser):
    """Collects the text of every element with an id; text belongs to all elements that it is in."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}
        self._open: list[str | None] = []
        """Ids of the open elements, None for those without one."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open an element."""
        element_id = dict(attrs).get("id")
        if element_id:
            self.texts.setdefault(element_id, "")
        if tag not in VOID:
            self._open.append(element_id)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Ignore an element without content."""

    def handle_endtag(self, tag: str) -> None:
        """Close an element."""
        if tag not in VOID and self._open:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        """Add text to the innermost element with an id."""
        innermost = next((element_id for element_id in reversed(self._open) if element_id), None)
        if innermost:
            self.texts[innermost] += f" {data}" if self.texts[innermost] else data


def read_page(page: bytes) -> Mapping[str, Value]:
    """Return id -> text of every element of an HTML page that has an id."""
    parser = ElementTexts()
    parser.feed(page.decode(errors="replace"))
    return parser.texts


def read_json(document: bytes) -> Mapping[str, Value]:
    """Return id -> value of every number and text in report.json. Raises msgspec.DecodeError."""
    return dict(flatten(msgspec.json.decode(document)))


def read_text(text: bytes) -> Mapping[str, Value]:
    """Return ``line.<number>`` -> line of report.txt."""
    return {
        f"line.{number}": line.rstrip() for number, line in enumerate(text.decode(errors="replace").splitlines(), 1)
    }


def read_samples(lines: bytes) -> Mapping[str, Value]:
    """Return id -> value of every field of samples.jsonl; ids begin with the key. Raises msgspec.DecodeError."""
    return dict(sample_numbers(lines))


def sample_numbers(lines: bytes) -> Iterator[tuple[str, Value]]:
    """Yield id and value of every field of samples.jsonl."""
    for line in lines.splitlines():
        sample = msgspec.json.decode(line, type=dict)
        yield from flatten(sample, (str(sample.get("key")),))
