"""Message as one JSON document, for a callback or a column of the database."""

from base64 import b64decode, b64encode
from typing import Self

import msgspec
from msgspec import UNSET, UnsetType

from prebook.messaging.codec import WireMessage


class MessageDocument(msgspec.Struct, frozen=True):
    """Headers and body of a message: ``body`` if it is UTF-8, else ``base64`` beside an empty one."""

    headers: dict[str, str]
    body: str
    base64: str | UnsetType = UNSET

    @classmethod
    def of(cls, message: WireMessage) -> Self:
        """Return the document of a message."""
        try:
            return cls(dict(message.headers), message.body.decode())
        except UnicodeDecodeError:
            return cls(dict(message.headers), "", base64=b64encode(message.body).decode())

    def to_message(self) -> WireMessage:
        """Return the message. Raises ValueError if ``base64`` is malformed."""
        if isinstance(self.base64, UnsetType):
            return WireMessage(self.headers, self.body.encode())
        return WireMessage(self.headers, b64decode(self.base64, validate=True))
