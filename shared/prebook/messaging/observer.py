"""What the messaging core tells whoever watches it."""

from typing import Protocol

from prebook.messaging.envelope import Envelope


class MessagingObserver(Protocol):
    """Told of every turn in a message's life. Must not raise and must not wait."""

    def on_sent(self, envelope: Envelope, seconds: float) -> None:
        """Handed over: confirmed by the broker, or taken by the other side's HTTP door."""

    def on_send_failed(self, envelope: Envelope, error: Exception) -> None:
        """Not handed over this time."""

    def on_handled(self, envelope: Envelope, seconds: float) -> None:
        """Had its effect, committed."""

    def on_handling_failed(self, envelope: Envelope, error: Exception) -> None:
        """Handling raised; nothing was committed."""

    def on_duplicate(self, envelope: Envelope) -> None:
        """Has had its effect before; nothing was done."""

    def on_expired(self, envelope: Envelope, stage: str) -> None:
        """Nobody waits for it any more; nothing was done. ``stage``: ``outbox`` (unsent) or ``inbound`` (unhandled)."""

    def on_retried(self, envelope: Envelope, delay_s: float) -> None:
        """Will be delivered again after a pause."""

    def on_dead_lettered(self, flow: str, cause: str) -> None:
        """Set aside with its cause."""


class NullObserver:
    """Nobody watches."""

    def on_sent(self, envelope: Envelope, seconds: float) -> None: ...
    def on_send_failed(self, envelope: Envelope, error: Exception) -> None: ...
    def on_handled(self, envelope: Envelope, seconds: float) -> None: ...
    def on_handling_failed(self, envelope: Envelope, error: Exception) -> None: ...
    def on_duplicate(self, envelope: Envelope) -> None: ...
    def on_expired(self, envelope: Envelope, stage: str) -> None: ...
    def on_retried(self, envelope: Envelope, delay_s: float) -> None: ...
    def on_dead_lettered(self, flow: str, cause: str) -> None: ...
