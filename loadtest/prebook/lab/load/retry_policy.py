"""Whether a rider who was refused comes back, and when: at the time that was told, so many times, for so long."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from prebook.lab.load.samples import REFUSED_STATUSES, RefusalSample

LIMIT_PATTERN = re.compile(r"\(([a-z_]+)\);")
"""What booking names in an overload: the load that is at its limit."""


@dataclass(frozen=True)
class RiderRetryPolicy:
    """Pure: what has been heard decides."""

    max_retries: int
    """Visits after the first one."""
    patience_s: float
    """From the intended moment: who is told a later time than that goes away for good."""

    def delay_s(self, status: int | None, refusals: Sequence[RefusalSample]) -> float | None:
        """Until the next visit; None where there is none: not refused, told nothing, out of visits or of patience."""
        if status not in REFUSED_STATUSES or len(refusals) > self.max_retries:
            return None
        last = refusals[-1]
        if last.retry_after_s is None or last.at_s + last.retry_after_s > self.patience_s:
            return None
        return last.retry_after_s


NO_RETRIES = RiderRetryPolicy(max_retries=0, patience_s=0.0)


class ProblemBody(msgspec.Struct, frozen=True):
    """What is read of a problem document."""

    code: str = "no_code"
    detail: str = ""


def parse_refusal(status: int | None, at_s: float, retry_after: str | None, body: bytes) -> RefusalSample:
    """``retry_after``: whole seconds; a date is taken for nothing said, since booking promises seconds."""
    told = float(retry_after) if retry_after and retry_after.isdecimal() else None
    return RefusalSample(status=status or 0, at_s=round(at_s, 4), retry_after_s=told, reason=refusal_reason(body))


def refusal_reason(body: bytes) -> str:
    try:
        problem = msgspec.json.decode(body, type=ProblemBody)
    except msgspec.DecodeError:
        return "no_problem_document"
    full = LIMIT_PATTERN.search(problem.detail)
    return f"{problem.code}: {full[1]}" if full else problem.code
