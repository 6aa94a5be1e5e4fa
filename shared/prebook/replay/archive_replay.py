"""One replay from the archive and its progress."""

import getpass
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from secrets import token_hex

from prebook.replay.archive_report import ArchiveReplayRefusal, ArchiveReplayReport, ArchiveReplayState, ReplayEffects
from prebook.replay.archive_selection import ArchiveSelection, OriginalFilter
from prebook.replay.archived_message import ArchivedMessage, unreadable_reason
from prebook.replay.receivers import ArchiveRedelivery, Receiver, marked_as_replay

MAX_REDELIVERIES = 100_000
"""Redeliveries that one replay may hold in memory."""
OUTSIDE_INBOX_WINDOW = "older than the receiver's inbox deduplication window; --force replays it anyway"


class SelectionTooLarge(Exception):
    """The selection has more redeliveries than one replay may hold."""


@dataclass(frozen=True, kw_only=True)
class ArchiveReplayOptions:
    """How to replay. ``inbox_dedup_s`` is the deduplication window of the receivers' inboxes."""

    receivers: Sequence[Receiver]
    inbox_dedup_s: float
    apply: bool
    rate_per_s: float
    ignore_expiry: bool = False
    force: bool = False


@dataclass
class ArchiveReplay:
    selection: ArchiveSelection
    options: ArchiveReplayOptions
    id: str = field(default_factory=lambda: f"archive-{token_hex(6)}")
    requested_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    state: ArchiveReplayState = ArchiveReplayState.DRY_RUN
    messages: int = 0
    without_receiver: int = 0
    redeliveries: list[ArchiveRedelivery] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    effects: ReplayEffects | None = None
    _is_original: OriginalFilter = field(default_factory=OriginalFilter)

    def consider(self, message: ArchivedMessage) -> None:
        """Add the message if it is selected. Call in the order of the archive. Raises SelectionTooLarge."""
        if not (self.selection.matches(message) and self._is_original(message)):
            return
        self.messages += 1
        subscribers = [receiver for receiver in self.options.receivers if receiver.subscribes_to(message)]
        self.without_receiver += not subscribers
        wire = marked_as_replay(message, self.id, ignore_expiry=self.options.ignore_expiry)
        self.redeliveries += [ArchiveRedelivery(receiver, message, wire) for receiver in subscribers]
        if subscribers and (reason := unreadable_reason(message) or self._age_refusal(message, subscribers)):
            self.refusals[reason] += 1
        if len(self.redeliveries) > MAX_REDELIVERIES:
            raise SelectionTooLarge(f"more than {MAX_REDELIVERIES} messages are selected")

    def _age_refusal(self, message: ArchivedMessage, subscribers: Sequence[Receiver]) -> str:
        """Return why the message is too old to replay; empty if not, or if no receiver is a service with an inbox."""
        oldest = self.requested_at - timedelta(seconds=self.options.inbox_dedup_s)
        outside_window = message.occurred_at is None or message.occurred_at < oldest
        return (
            OUTSIDE_INBOX_WINDOW
            if outside_window and not self.options.force and any(r.service for r in subscribers)
            else ""
        )

    def report(self) -> ArchiveReplayReport:
        effects = self.effects
        return ArchiveReplayReport(
            id=self.id,
            requested_at=self.requested_at,
            requested_by=getpass.getuser(),
            state=self.state,
            selection=self.selection.as_options(),
            rate_per_s=self.options.rate_per_s,
            ignore_expiry=self.options.ignore_expiry,
            force=self.options.force,
            receivers=tuple(receiver.queue for receiver in self.options.receivers),
            messages=self.messages,
            without_receiver=self.without_receiver,
            redeliveries=len(self.redeliveries),
            sent=self.sent,
            duplicates=effects.duplicates if effects else None,
            new_effects=effects.new if effects else None,
            unconfirmed=effects.unconfirmed if effects else None,
            refusals=tuple(
                ArchiveReplayRefusal(reason=reason, messages=n) for reason, n in sorted(self.refusals.items())
            ),
        )
