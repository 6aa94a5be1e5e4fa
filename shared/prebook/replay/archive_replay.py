"""One replay from the archive: the selected messages, the redeliveries planned from them, and the progress."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from secrets import token_hex

from prebook.messaging import addresses
from prebook.messaging.errors import ForbiddenSender
from prebook.replay.archive_report import ArchiveReplayReport, ArchiveReplayState, ReplayEffects, UnsentMessages
from prebook.replay.archive_selection import ArchiveSelection, OriginalFilter
from prebook.replay.archived_message import ArchivedMessage, decoding_error
from prebook.replay.eligibility import IneligibleReason, ReplayPolicy, ineligible_reason
from prebook.replay.receivers import ArchiveRedelivery, Receiver
from prebook.replay.redelivery import marked_as_replay
from prebook.topology.sender_check import MessageOrigin, SenderCheck

MAX_REDELIVERIES = 100_000
"""Redeliveries that one replay may hold in memory."""


class SelectionTooLarge(Exception):
    """The selection has more than MAX_REDELIVERIES redeliveries."""


@dataclass(frozen=True, kw_only=True)
class ArchiveReplayOptions:
    """Options of a replay.

    ``policy``: eligibility; its ``now`` is the time of the request. ``apply``: send; otherwise a dry run.
    ``rate_per_s``: redeliveries per second. ``requested_by``: account named in the audit line. ``check_sender``: check
    that the services' consumers make: a replay must not lend its account to a message that they refused.
    """

    receivers: Sequence[Receiver]
    policy: ReplayPolicy
    apply: bool
    rate_per_s: float
    check_sender: SenderCheck
    requested_by: str = ""


@dataclass
class ArchiveReplay:
    """State of one replay from the archive; ``archive_runner.run_archive_replay`` advances it.

    ``unsent``: number of messages that are not sent, by reason.
    """

    selection: ArchiveSelection
    options: ArchiveReplayOptions
    id: str = field(default_factory=lambda: f"archive-{token_hex(6)}")
    state: ArchiveReplayState = ArchiveReplayState.DRY_RUN
    messages: int = 0
    without_receiver: int = 0
    forbidden: int = 0
    redeliveries: list[ArchiveRedelivery] = field(default_factory=list)
    unsent: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    effects: ReplayEffects | None = None
    _is_original: OriginalFilter = field(default_factory=OriginalFilter)

    def consider(self, message: ArchivedMessage) -> None:
        """Plan the redeliveries of ``message`` if it is selected. Call in the order of the archive.

        Raises SelectionTooLarge.
        """
        if not self.selection.matches(message):
            return
        subscribing = [receiver for receiver in self.options.receivers if receiver.subscribes_to(message)]
        subscribers = [receiver for receiver in subscribing if self._may_be_sent(message, receiver)]
        if subscribing and not subscribers:  # before the filter of copies, so that a forgery hides no original
            self.forbidden += 1
            return
        if not self._is_original(message):
            return
        self.messages += 1
        if not subscribers:
            self.without_receiver += 1
            return
        wire = marked_as_replay(message.wire, self.id, ignore_expiry=self.options.policy.ignore_expiry)
        self.redeliveries += [ArchiveRedelivery(receiver, message, wire) for receiver in subscribers]
        if reason := self._ineligible_text(message, subscribers):
            self.unsent[reason] += 1
        if len(self.redeliveries) > MAX_REDELIVERIES:
            raise SelectionTooLarge(f"more than {MAX_REDELIVERIES} redeliveries are selected")

    def report(self) -> ArchiveReplayReport:
        """Return the result so far."""
        effects = self.effects
        policy = self.options.policy
        return ArchiveReplayReport(
            id=self.id,
            requested_at=policy.now,
            requested_by=self.options.requested_by,
            state=self.state,
            selection=self.selection.as_options(),
            rate_per_s=self.options.rate_per_s,
            ignore_expiry=policy.ignore_expiry,
            force=policy.force,
            receivers=tuple(receiver.queue for receiver in self.options.receivers),
            messages=self.messages,
            without_receiver=self.without_receiver,
            forbidden=self.forbidden,
            redeliveries=len(self.redeliveries),
            sent=self.sent,
            duplicates=effects.duplicates if effects else None,
            new_effects=effects.new if effects else None,
            unconfirmed=effects.unconfirmed if effects else None,
            unsent=tuple(UnsentMessages(reason=reason, messages=n) for reason, n in sorted(self.unsent.items())),
        )

    def _may_be_sent(self, message: ArchivedMessage, receiver: Receiver) -> bool:
        """Return whether the sender may send the message to this queue; a queue of no service decides itself."""
        origin = MessageOrigin(addresses.EVENTS, message.routing_key, message.user)
        try:
            if receiver.service:
                self.options.check_sender(receiver.queue, origin, message.headers)
        except ForbiddenSender:
            return False
        return True

    def _ineligible_text(self, message: ArchivedMessage, subscribers: Sequence[Receiver]) -> str:
        """Return why ``message`` may not be sent; empty if it may.

        An expired request is sent with its expiry: its receiver then counts and drops it like the original. A queue of
        no service has no inbox whose deduplication window is known.
        """
        error = decoding_error(message)
        reason = ineligible_reason(
            self.options.policy,
            occurred_at=message.occurred_at,
            expires_at=None,
            is_readable=not error,
            has_inbox=any(receiver.service for receiver in subscribers),
        )
        if reason is IneligibleReason.UNREADABLE:
            return error
        return reason.value if reason else ""
