"""Who is told of what nobody waits for any more."""

from prebook.messaging.envelope import Envelope
from prebook.messaging.observer import Unwatched


class Expiries(Unwatched):
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def expired(self, envelope: Envelope, where: str) -> None:
        self.told.append((envelope.id, where))
