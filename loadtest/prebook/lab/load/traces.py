"""When rides arrived once: read from a file of somebody's, or from the raw samples of an earlier run."""

import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec


class TraceUnreadable(Exception):
    """The text says what is wrong with the file, and what it should hold."""


class TracedRequest(msgspec.Struct, frozen=True):
    """What is needed of a sample."""

    intended_at: datetime


def read_trace(path: Path) -> tuple[float, ...]:
    """Offsets in seconds, rising, the first at 0. A line is a number of seconds, or a sample as ``samples.jsonl`` has
    them. Raises TraceUnreadable."""
    try:
        lines = [line for line in path.read_text().splitlines() if line.strip()]
        return offsets_from_first(sorted(map(parse_time_s, lines)))
    except (OSError, UnicodeDecodeError, ValueError, msgspec.DecodeError) as error:
        raise TraceUnreadable(
            f"{path} cannot be replayed ({error}); give a file with a number of seconds on each line, "
            "or the samples.jsonl of a report"
        ) from error


def parse_time_s(line: str) -> float:
    return (
        msgspec.json.decode(line, type=TracedRequest).intended_at.timestamp() if line.startswith("{") else float(line)
    )


def offsets_from_first(moments: Sequence[float]) -> tuple[float, ...]:
    """Raises ValueError where there is none, or one is no number."""
    if not moments:
        raise ValueError("it is empty")
    if not all(map(math.isfinite, moments)):
        raise ValueError("not every line is a finite number")
    return tuple(round(at - moments[0], 6) for at in moments)
