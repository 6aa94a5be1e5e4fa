"""Who is told of what nobody waits for any more."""

from prebook.messaging.envelope import Envelope
from prebook.messaging.observer import NullObserver


class Expiries(NullObserver):
    def __init__(self) -> None:
        self.expirations: list[tuple[str, str]] = []

    def on_expired(self, envelope: Envelope, stage: str) -> None:
        self.expirations.append((envelope.id, stage))
