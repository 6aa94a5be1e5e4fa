"""Scatter-gather: send one request to several recipients, and form one answer from the replies that come in time.

The answer does not wait for all: it is complete with the first few useful replies (n of m), with the replies of all
recipients, or at its deadline, and says how many recipients have replied. Laws, whatever the order, number and delay of
the replies:

- replies received = used + late + duplicate + unreadable;
- recipients asked = used + late + unreadable + missing, once every recipient has replied or is abandoned;
- an answer with at least one useful reply is complete by the deadline.

Without a useful reply there is nothing to answer with, so the answer stays open until the requests have ended.

Source: EIP, Scatter-Gather and Aggregator ("timeout", "first best", "timeout with override").
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self


class ReplyVerdict(StrEnum):
    """Verdict on a reply, or on its absence."""

    USED = "used"
    """First reply of its recipient, before the answer was complete."""
    LATE = "late"
    """First reply of its recipient, after the answer was complete."""
    DUPLICATE = "duplicate"
    """A further reply of a recipient that has already replied or been abandoned."""
    UNREADABLE = "unreadable"
    """The reply of a recipient could not be read."""
    MISSING = "missing"
    """There was no reply: the recipient is abandoned."""


class Completion(StrEnum):
    """Cause of the completion of an answer."""

    ENOUGH = "enough"
    """As many useful replies as the policy asks for."""
    ALL_REPLIED = "all_replied"
    """No recipient is left to wait for."""
    DEADLINE = "deadline"
    """The deadline has passed, and there is a useful reply."""


class Choice(StrEnum):
    """Choice among the useful replies."""

    NEAREST = "nearest"
    """The best one."""
    FIRST = "first"
    """The one that came first."""


@dataclass(frozen=True, slots=True)
class CompletionPolicy:
    """Completeness condition of an answer.

    ``enough``: number of useful replies (n of m). ``deadline_s``: seconds from the request. If ``enough`` is above
    the number of recipients, the answer waits for all of them, until the deadline.
    """

    enough: int
    deadline_s: float

    def completion(self, *, useful: int, pending: int, age_s: float) -> Completion | None:
        """Return the reason to complete an answer after ``age_s`` seconds; None if it stays open.

        ``useful``: useful replies so far; ``pending``: recipients that may still reply.
        """
        if useful >= self.enough:
            return Completion.ENOUGH
        if not pending:
            return Completion.ALL_REPLIED
        return Completion.DEADLINE if useful and age_s >= self.deadline_s else None


def verdict_on(*, is_pending: bool, is_open: bool, is_readable: bool) -> ReplyVerdict:
    """Return the verdict on a reply. ``is_pending``: it is its recipient's first; ``is_open``: no answer yet."""
    if not is_pending:
        return ReplyVerdict.DUPLICATE
    if not is_readable:
        return ReplyVerdict.UNREADABLE
    return ReplyVerdict.USED if is_open else ReplyVerdict.LATE


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyCounts:
    """Number of replies to one request, by verdict."""

    used: int = 0
    late: int = 0
    duplicate: int = 0
    unreadable: int = 0
    missing: int = 0

    @property
    def received(self) -> int:
        """Number of replies that arrived."""
        return self.used + self.late + self.duplicate + self.unreadable

    @property
    def settled(self) -> int:
        """Recipients that have replied or were abandoned."""
        return self.used + self.late + self.unreadable + self.missing

    def __add__(self, other: Self) -> Self:
        """Return the sum, verdict by verdict."""
        return replace(
            self,
            used=self.used + other.used,
            late=self.late + other.late,
            duplicate=self.duplicate + other.duplicate,
            unreadable=self.unreadable + other.unreadable,
            missing=self.missing + other.missing,
        )


def count_verdicts(verdicts: Iterable[ReplyVerdict]) -> ReplyCounts:
    """Return the number of replies by verdict."""
    counts = Counter(verdicts)
    return ReplyCounts(**{verdict.value: counts[verdict] for verdict in ReplyVerdict})
