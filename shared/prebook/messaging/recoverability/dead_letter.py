"""What a message carries when it is set aside and when it is sent again, and what the parking hands on."""

import hashlib
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class XDeath:
    """What the broker notes when it dead-letters by itself: a consumer that crashed too often, say."""

    queue: str
    exchange: str
    routing_key: str
    reason: str
    count: int
    at: datetime | None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message as it lies in the parking: whatever it is, it can be told."""

    queue: str
    """Where it could not be handled."""
    headers: Mapping[str, str]
    body: bytes
    x_deaths: tuple[XDeath, ...] = ()
    """The newest first."""
    parked_at: datetime | None = None
    """Seconds are all that the broker's format holds."""


def stack_digest(error: BaseException) -> str:
    """The same for errors of one type that came the same way through our own code, whatever their text."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/prebook/" in frame.filename]
    way = "\n".join(f"{frame.filename.rpartition('/prebook/')[2]}:{frame.name}:{frame.lineno}" for frame in frames)
    return hashlib.sha256(f"{type(error).__qualname__}\n{way}".encode()).hexdigest()[:12]
