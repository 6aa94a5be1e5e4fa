"""Recording of the calls of the project's own functions, in their order."""

import dis
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = (f"{ROOT}/services/", f"{ROOT}/shared/")
RESUME = dis.opmap["RESUME"]


class Call(NamedTuple):
    """A function, without ``<locals>`` in its qualified name, and its file relative to the root of the project."""

    function: str
    file: str


@contextmanager
def recorded_calls() -> Iterator[list[Call]]:
    """Record every call of a function of services/ or shared/ in this thread, until the block ends."""
    calls: list[Call] = []

    def record(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(SOURCE_ROOTS) and not _is_resumed(frame):
            name = code.co_qualname.replace(".<locals>", "")
            calls.append(Call(name, code.co_filename.removeprefix(f"{ROOT}/")))

    sys.setprofile(record)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def _is_resumed(frame: FrameType) -> bool:
    """Whether a coroutine or generator continues after a suspension, which is profiled as a call too."""
    code = frame.f_code.co_code
    at = frame.f_lasti
    return at >= 0 and code[at] == RESUME and bool(code[at + 1] & 3)


def unreached(steps: Sequence[Call], calls: Sequence[Call]) -> list[Call]:
    """Return the steps from the first one that is not called after its predecessor."""
    remaining = iter(calls)
    for number, step in enumerate(steps):
        if step not in remaining:
            return list(steps[number:])
    return []
