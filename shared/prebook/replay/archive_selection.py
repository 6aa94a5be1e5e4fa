"""Which of the archived messages are meant."""

from dataclasses import dataclass, field
from datetime import datetime

from prebook.replay.archived_message import Kept


@dataclass(frozen=True, kw_only=True)
class Selection:
    """All that is given must hold; what is not given does not narrow. ``since`` is in the window, ``until`` is not."""

    since: datetime | None = None
    until: datetime | None = None
    types: frozenset[str] = field(default_factory=frozenset)
    bookings: frozenset[str] = field(default_factory=frozenset)

    def takes(self, kept: Kept) -> bool:
        return (
            self._in_window(kept.said_at)
            and (not self.types or kept.type in self.types)
            and (not self.bookings or kept.conversation in self.bookings)
        )

    def spelled(self) -> dict[str, str]:
        """What was given, in the words of the command line."""
        told = {
            "from": self.since.isoformat() if self.since else "",
            "to": self.until.isoformat() if self.until else "",
            "type": " ".join(sorted(self.types)),
            "booking": " ".join(sorted(self.bookings)),
        }
        return {name: text for name, text in told.items() if text}

    def _in_window(self, at: datetime | None) -> bool:
        """What does not say when it was said is in no window."""
        if at is None:
            return self.since is None and self.until is None
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


class Originals:
    """Passes each message once, as it was first said: relays may send one twice, and replays send them again."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, kept: Kept) -> bool:
        if kept.is_replayed or kept.id in self._seen:
            return False
        self._seen.add(kept.id)
        return True
