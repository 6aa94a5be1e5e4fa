"""Selection of archived messages."""

from dataclasses import dataclass, field
from datetime import datetime

from prebook.replay.archived_message import ArchivedMessage


@dataclass(frozen=True, kw_only=True)
class ArchiveSelection:
    """Criteria that must all hold; an empty one selects everything. ``since`` is inclusive, ``until`` exclusive."""

    since: datetime | None = None
    until: datetime | None = None
    types: frozenset[str] = field(default_factory=frozenset)
    booking_ids: frozenset[str] = field(default_factory=frozenset)

    def matches(self, message: ArchivedMessage) -> bool:
        return (
            self._in_window(message.occurred_at)
            and (not self.types or message.type in self.types)
            and (not self.booking_ids or message.conversation_id in self.booking_ids)
        )

    def as_options(self) -> dict[str, str]:
        """Return the given criteria as options of the command line."""
        options = {
            "from": self.since.isoformat() if self.since else "",
            "to": self.until.isoformat() if self.until else "",
            "type": " ".join(sorted(self.types)),
            "booking": " ".join(sorted(self.booking_ids)),
        }
        return {name: text for name, text in options.items() if text}

    def _in_window(self, at: datetime | None) -> bool:
        """A message without a time is in no window."""
        if at is None:
            return self.since is None and self.until is None
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


class OriginalFilter:
    """Passes the first copy of each message: relays may send one twice, and replays send it again."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, message: ArchivedMessage) -> bool:
        if message.is_replayed or message.id in self._seen:
            return False
        self._seen.add(message.id)
        return True
