"""Selection of archived messages."""

from dataclasses import dataclass, field
from datetime import datetime

from prebook.replay.archived_message import ArchivedMessage


@dataclass(frozen=True, kw_only=True)
class ArchiveSelection:
    """Criteria that must all hold; without criteria every message is selected.

    ``since`` (inclusive) and ``until`` (exclusive) bound the event time.
    """

    since: datetime | None = None
    until: datetime | None = None
    types: frozenset[str] = field(default_factory=frozenset)
    booking_ids: frozenset[str] = field(default_factory=frozenset)

    def matches(self, message: ArchivedMessage) -> bool:
        """Return whether ``message`` meets every criterion."""
        return (
            self._in_window(message.occurred_at)
            and (not self.types or message.type in self.types)
            and (not self.booking_ids or message.conversation_id in self.booking_ids)
        )

    def as_options(self) -> dict[str, str]:
        """Return the given criteria by their names on the command line."""
        options = {
            "from": self.since.isoformat() if self.since else "",
            "to": self.until.isoformat() if self.until else "",
            "type": " ".join(sorted(self.types)),
            "booking": " ".join(sorted(self.booking_ids)),
        }
        return {name: text for name, text in options.items() if text}

    def _in_window(self, at: datetime | None) -> bool:
        """Return whether ``at`` is in the time window; a message without a time is in no bounded window."""
        if at is None:
            return self.since is None and self.until is None
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


class OriginalFilter:
    """Predicate for the first copy of each message: a relay may publish a message twice, and replays send copies."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, message: ArchivedMessage) -> bool:
        """Return whether ``message`` is no replay and its id has not been seen before; remember the id."""
        if message.is_replayed or message.id in self._seen:
            return False
        self._seen.add(message.id)
        return True
