"""Normalizer: translates messages with the same meaning in different formats into one type, by a translator per format.

The format and its version are named by the message (a media type), never guessed from the bytes. A message that names
an unknown format, or that its translator cannot read, is returned with its bytes and cause, and raises nothing. Law:
received = translated + unreadable.

Source: EIP, Normalizer, Message Translator and Invalid Message Channel.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")
"""The common type."""
READ_ERRORS = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""Errors of a translator that mean that the bytes violate the format. Any other error is a defect of the translator."""
MAX_MEDIA_TYPE_CHARS = 100


class UnreadableCause(StrEnum):
    """Reason why a message was not translated; also the cause of its dead letter."""

    UNKNOWN_VERSION = "unknown_version"
    """No translator reads the format, or the version of it, that the message names."""
    GARBLED = "garbled"
    """The bytes violate the format that the message names, or hold an impossible value."""


@dataclass(frozen=True, slots=True)
class ForeignMessage:
    """A message of a foreign system: its format with the version, as the sender names it, and its bytes."""

    media_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class UnreadableMessage:
    """A message that was not translated, as it came."""

    cause: UnreadableCause
    message: ForeignMessage


@dataclass(frozen=True)
class Normalizer(Generic[T]):
    """Translators by media type. To support another format, or version of one, add a translator."""

    translators: Mapping[str, Callable[[bytes], T]]

    def read(self, message: ForeignMessage) -> T | UnreadableMessage:
        """Return the translated message, or an UnreadableMessage if there is no translator or it fails."""
        translate = self.translators.get(message.media_type)
        if translate is None:
            return UnreadableMessage(UnreadableCause.UNKNOWN_VERSION, message)
        try:
            return translate(message.body)
        except READ_ERRORS:
            return UnreadableMessage(UnreadableCause.GARBLED, message)


def printable(text: str, max_chars: int) -> str:
    """Return the printable characters of a foreign text, at most ``max_chars``, safe for logs and headers."""
    return "".join(c for c in text[:max_chars] if c.isprintable() and c.isascii())
