"""Recorded arrival times, read from a file of numbers or from the samples of an earlier run."""

import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from prebook.text_file import read_text


class TraceUnreadable(Exception):
    """A trace file is missing or invalid; the text names the problem and the expected format."""


class TracedRequest(msgspec.Struct, frozen=True):
    """The field of a sample that a trace needs."""

    intended_at: datetime


def read_trace(path: Path) -> tuple[float, ...]:
    """Return arrival times in ascending seconds, starting at 0.

    Each line is a number of seconds or a sample in the format of ``samples.jsonl``. Raises TraceUnreadable.
    """
    try:
        lines = [line for line in read_text(path).splitlines() if line.strip()]
        return offsets_from_first(sorted(map(parse_time_s, lines)))
    except (OSError, ValueError, msgspec.DecodeError) as error:
        raise TraceUnreadable(
            f"{path} cannot be replayed ({error}); give a file with a number of seconds on each line, "
            "or the samples.jsonl of a report"
        ) from error


def parse_time_s(line: str) -> float:
    """Return the time of a line in seconds. Raises ValueError or msgspec.DecodeError."""
    return (
        msgspec.json.decode(line, type=TracedRequest).intended_at.timestamp() if line.startswith("{") else float(line)
    )


def offsets_from_first(moments: Sequence[float]) -> tuple[float, ...]:
    """Return seconds relative to the first moment. Raises ValueError if there is none or one is not finite."""
    if not moments:
        raise ValueError("it is empty")
    if not all(map(math.isfinite, moments)):
        raise ValueError("not every line is a finite number")
    return tuple(round(at - moments[0], 6) for at in moments)
