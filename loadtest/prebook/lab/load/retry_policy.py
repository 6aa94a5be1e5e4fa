"""Retries of refused riders: after the time in ``Retry-After``, a limited number of times, within their patience."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from prebook.lab.load.samples import REFUSED_STATUSES, RefusalSample

LIMIT_PATTERN = re.compile(r"\(([a-z_]+)\);")
"""Matches the name of the load signal at its limit, as booking writes it into the detail of an overload problem."""


@dataclass(frozen=True)
class RiderRetryPolicy:
    """Rule by which a refused rider retries. It does no I/O: only the refusals so far decide."""

    max_retries: int
    """Number of attempts after the first one."""
    patience_s: float
    """Seconds after the intended time of the first attempt beyond which the rider does not retry."""

    def delay_s(self, status: int | None, refusals: Sequence[RefusalSample]) -> float | None:
        """Return the seconds until the next attempt, or None if the rider stops.

        A rider stops when not refused, without ``Retry-After``, and when attempts or patience are exhausted.
        """
        if status not in REFUSED_STATUSES or len(refusals) > self.max_retries:
            return None
        last = refusals[-1]
        if last.retry_after_s is None or last.at_s + last.retry_after_s > self.patience_s:
            return None
        return last.retry_after_s


NO_RETRIES = RiderRetryPolicy(max_retries=0, patience_s=0.0)


class ProblemBody(msgspec.Struct, frozen=True):
    """Fields read from a problem document. Source: RFC 9457."""

    code: str = "no_code"
    detail: str = ""


def parse_refusal(status: int | None, at_s: float, retry_after: str | None, body: bytes) -> RefusalSample:
    """Return the sample of a refusal ``at_s`` seconds after the intended time.

    ``retry_after`` counts only in whole seconds, as booking promises; an HTTP date is treated as missing.
    """
    retry_after_s = float(retry_after) if retry_after and retry_after.isdecimal() else None
    return RefusalSample(
        status=status or 0, at_s=round(at_s, 4), retry_after_s=retry_after_s, reason=refusal_reason(body)
    )


def refusal_reason(body: bytes) -> str:
    """Return the problem's code, followed by the load signal at its limit if the detail names one."""
    problem = parse_problem(body)
    limit = LIMIT_PATTERN.search(problem.detail)
    return f"{problem.code}: {limit[1]}" if limit else problem.code


def parse_problem(body: bytes) -> ProblemBody:
    """Return the problem document in ``body``; its code is ``no_problem_document`` if there is none."""
    try:
        return msgspec.json.decode(body, type=ProblemBody)
    except msgspec.DecodeError:
        return ProblemBody("no_problem_document")
