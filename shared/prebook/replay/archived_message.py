"""A message of the archive, a stream that keeps every event, and the requests and replies of one_way."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from prebook.messaging.codec import WireMessage, decode
from prebook.messaging.errors import Malformed
from prebook.messaging.headers import (
    CONVERSATION_ID_HEADER,
    MESSAGE_ID_HEADER,
    REPLAY_ID_HEADER,
    TIME_HEADER,
    TYPE_HEADER,
)


@dataclass(frozen=True, slots=True)
class ArchivedMessage:
    """A message of the archive with its offset and the routing key that it was published with.

    ``user``: broker user that published it; empty if the message does not name it.
    """

    offset: int
    routing_key: str
    wire: WireMessage
    user: str = ""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers as published, with those that the broker added."""
        return self.wire.headers

    @property
    def id(self) -> str:
        """The message id; without one, the offset identifies the message."""
        return self.headers.get(MESSAGE_ID_HEADER) or f"offset {self.offset}"

    @property
    def type(self) -> str:
        """The message type, such as ``prebook.booking_ended.v3``; empty if the header is missing."""
        return self.headers.get(TYPE_HEADER, "")

    @property
    def conversation_id(self) -> str:
        """The booking id; empty if the header is missing."""
        return self.headers.get(CONVERSATION_ID_HEADER, "")

    @property
    def occurred_at(self) -> datetime | None:
        """The event time; None if the header is missing or unreadable."""
        try:
            at = datetime.fromisoformat(self.headers.get(TIME_HEADER, ""))
        except ValueError:
            return None
        return at if at.tzinfo else at.replace(tzinfo=UTC)

    @property
    def is_replayed(self) -> bool:
        """Whether a replay published this copy for all subscribers; the archive already holds the original."""
        return REPLAY_ID_HEADER in self.headers


def decoding_error(message: ArchivedMessage) -> str:
    """Return why this version of the software cannot decode the message, as ``cause: text``; empty if it can."""
    try:
        decode(message.wire)
    except Malformed as error:
        return f"{error.cause}: {error}"
    return ""
