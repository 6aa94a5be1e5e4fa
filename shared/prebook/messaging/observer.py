"""What the messaging core tells whoever watches it."""

from typing import Protocol

from prebook.messaging.envelope import Envelope


class Watch(Protocol):
    """Told of every turn in a message's life. Must not raise and must not wait."""

    def sent(self, envelope: Envelope, seconds: float) -> None:
        """Handed over: confirmed by the broker, or taken by the other side's HTTP door."""

    def unsent(self, envelope: Envelope, error: Exception) -> None:
        """Not handed over this time."""

    def handled(self, envelope: Envelope, seconds: float) -> None:
        """Had its effect, committed."""

    def failed(self, envelope: Envelope, error: Exception) -> None:
        """Handling raised; nothing was committed."""

    def duplicate(self, envelope: Envelope) -> None:
        """Has had its effect before; nothing was done."""

    def expired(self, envelope: Envelope, where: str) -> None:
        """Nobody waits for it any more; nothing was done. ``where``: ``outbox`` (unsent) or ``door`` (unhandled)."""

    def retried(self, envelope: Envelope, pause_s: float) -> None:
        """Will be delivered again after a pause."""

    def parked(self, flow: str, cause: str) -> None:
        """Set aside with its cause."""


class Unwatched:
    """Nobody watches."""

    def sent(self, envelope: Envelope, seconds: float) -> None: ...
    def unsent(self, envelope: Envelope, error: Exception) -> None: ...
    def handled(self, envelope: Envelope, seconds: float) -> None: ...
    def failed(self, envelope: Envelope, error: Exception) -> None: ...
    def duplicate(self, envelope: Envelope) -> None: ...
    def expired(self, envelope: Envelope, where: str) -> None: ...
    def retried(self, envelope: Envelope, pause_s: float) -> None: ...
    def parked(self, flow: str, cause: str) -> None: ...
