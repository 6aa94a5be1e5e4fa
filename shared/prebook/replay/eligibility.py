"""Eligibility for replay: one rule for dead letters, archived messages and abandoned outbox rows."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class IneligibleReason(StrEnum):
    """Reason for leaving a message out of a replay. Callers add the remedy in the words of their own interface."""

    UNREADABLE = "unreadable"
    """This version of the software cannot decode the message."""
    EXPIRED = "expired"
    """The expiry has passed: the caller has gone on without a reply, and a receiver would drop the message."""
    OUTSIDE_INBOX_WINDOW = "outside_inbox_window"
    """The receiver's inbox may have purged the message id, so the message could take effect a second time."""


@dataclass(frozen=True, kw_only=True)
class ReplayPolicy:
    """Limits of one replay.

    ``now``: time at which eligibility is judged.
    ``inbox_dedup_s``: deduplication window of the receivers' inboxes, in seconds.
    ``ignore_expiry``: send messages without their expiry, so that expired ones are handled too.
    ``force``: send messages from before the deduplication window too.
    """

    now: datetime
    inbox_dedup_s: float
    ignore_expiry: bool = False
    force: bool = False

    def is_outside_inbox_window(self, occurred_at: datetime | None) -> bool:
        """Return whether an inbox may have purged the id of a message of this time; a message without a time counts
        as too old.
        """
        return occurred_at is None or occurred_at < self.now - timedelta(seconds=self.inbox_dedup_s)


def ineligible_reason(
    policy: ReplayPolicy,
    *,
    occurred_at: datetime | None,
    expires_at: datetime | None = None,
    is_readable: bool = True,
    has_inbox: bool = True,
) -> IneligibleReason | None:
    """Return the first reason against sending a message again, or None if the message is eligible.

    ``occurred_at``: event time of the message; None if unknown.
    ``expires_at``: expiry with which the message would be sent; None if it has none, or if expiry does not matter to
    the caller.
    ``is_readable``: whether this version of the software can decode the message.
    ``has_inbox``: whether the receiver deduplicates by an inbox whose window ``policy`` describes.
    """
    if not is_readable:
        return IneligibleReason.UNREADABLE
    if expires_at is not None and expires_at <= policy.now and not policy.ignore_expiry:
        return IneligibleReason.EXPIRED
    if has_inbox and policy.is_outside_inbox_window(occurred_at) and not policy.force:
        return IneligibleReason.OUTSIDE_INBOX_WINDOW
    return None
