"""Which of the archived messages are meant."""

from dataclasses import dataclass, field
from datetime import datetime

from prebook.replay.archived_message import ArchivedMessage


@dataclass(frozen=True, kw_only=True)
class ArchiveSelection:
    """All that is given must hold; what is not given does not narrow. ``since`` is in the window, ``until`` is not."""

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
        """What was given, in the words of the command line."""
        told = {
            "from": self.since.isoformat() if self.since else "",
            "to": self.until.isoformat() if self.until else "",
            "type": " ".join(sorted(self.types)),
            "booking": " ".join(sorted(self.booking_ids)),
        }
        return {name: text for name, text in told.items() if text}

    def _in_window(self, at: datetime | None) -> bool:
        """What does not say when it was said is in no window."""
        if at is None:
            return self.since is None and self.until is None
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


class OriginalFilter:
    """Passes each message once, as it was first said: relays may send one twice, and replays send them again."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, message: ArchivedMessage) -> bool:
        if message.is_replayed or message.id in self._seen:
            return False
        self._seen.add(message.id)
        return True
