"""One message as it lies in the archive."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from prebook.messaging.codec import Malformed, WireMessage, decode
from prebook.messaging.recoverability.dead_letter import REPLAY_ID_HEADER


@dataclass(frozen=True, slots=True)
class ArchivedMessage:
    """``key`` is the routing key that it was published with."""

    offset: int
    routing_key: str
    wire: WireMessage

    @property
    def headers(self) -> Mapping[str, str]:
        return self.wire.headers

    @property
    def id(self) -> str:
        """What has none is told apart by its place."""
        return self.headers.get("ce-id") or f"offset {self.offset}"

    @property
    def type(self) -> str:
        return self.headers.get("ce-type", "")

    @property
    def conversation_id(self) -> str:
        return self.headers.get("ce-subject", "")

    @property
    def occurred_at(self) -> datetime | None:
        """None where it does not say so in a way that can be read."""
        try:
            at = datetime.fromisoformat(self.headers.get("ce-time", ""))
        except ValueError:
            return None
        return at if at.tzinfo else at.replace(tzinfo=UTC)

    @property
    def is_replayed(self) -> bool:
        """A copy that somebody sent again to where all subscribers hear it; the original lies here already."""
        return REPLAY_ID_HEADER in self.headers


def unreadable_reason(message: ArchivedMessage) -> str:
    """Why this version of the software cannot vouch for it; empty where it can."""
    try:
        decode(message.wire)
    except Malformed as error:
        return f"{error.cause}: {error}"
    return ""
