"""Comparison of the numbers that a report prints with those recomputed from its raw results. Pure."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from prebook.lab.campaign.report_files import JSON_FILE, PAGE_FILE, TEXT_FILE
from prebook.lab.load.samples import SAMPLES_FILE
from prebook.lab.report.numbers import Value
from prebook.lab.verification.printed_numbers import read_json, read_page, read_samples, read_text

ABSENT = "(absent)"
READERS: Mapping[str, Callable[[bytes], Mapping[str, Value]]] = {
    JSON_FILE: read_json,
    PAGE_FILE: read_page,
    TEXT_FILE: read_text,
    SAMPLES_FILE: read_samples,
}
"""File of a report -> reader of its numbers."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A number that is printed otherwise than it is recomputed."""

    file: str
    id: str
    printed: Value
    recomputed: Value


def compare_file(name: str, printed: bytes, recomputed: bytes) -> tuple[int, list[Difference]]:
    """Return how many numbers and texts one file has, and those that differ."""
    read = READERS[name]
    expected = read(recomputed)
    try:
        numbers = read(printed)
    except msgspec.DecodeError as error:
        return 0, [Difference(file=name, id="whole file", printed=f"unreadable: {error}", recomputed="JSON")]
    differences = list(compare_numbers(name, numbers, expected))
    if not differences and printed != recomputed:
        differences.append(
            Difference(file=name, id="whole file", printed="differs outside of its numbers", recomputed="equal bytes")
        )
    return len(numbers), differences


def compare_numbers(file: str, printed: Mapping[str, Value], recomputed: Mapping[str, Value]) -> Iterator[Difference]:
    """Yield the ids whose values differ, in the order of the printed file; ids that only one side has come last."""
    for number_id, value in printed.items():
        expected: Any = recomputed.get(number_id, ABSENT)
        if value != expected:
            yield Difference(file=file, id=number_id, printed=value, recomputed=expected)
    for number_id in recomputed.keys() - printed.keys():
        yield Difference(file=file, id=number_id, printed=ABSENT, recomputed=recomputed[number_id])
