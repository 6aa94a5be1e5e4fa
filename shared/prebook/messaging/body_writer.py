"""Body writer of a service: the versions in which it writes the bodies of its messages.

A service writes the newest version. While receivers are upgraded one after the other, it writes an older one that they
all know.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from prebook.contracts.message import Message
from prebook.contracts.versions import versions_of
from prebook.messaging.body_codec import BODY_TYPES, encode_body, message_name
from prebook.messaging.envelope import Envelope


class UnknownVersion(ValueError):
    """No message has this name, or the message has no such version."""


@dataclass(frozen=True, slots=True)
class BodyWriter:
    """Chooses the form in which each new message of a service is written."""

    versions: Mapping[type[Message], int] = field(default_factory=dict)
    """Version of a message, numbered from 1, by the class of its newest; a message that is missing has the newest."""

    def write(self, envelope: Envelope) -> Envelope:
        """Return a new message with its body written; one in the default form is returned as it is.

        Raises ValueError if the version cannot say what the body says.
        """
        version = self.versions.get(type(envelope.body))
        return envelope if version is None else replace(envelope, encoded_body=encode_body(envelope.body, version))


DEFAULT_WRITER = BodyWriter()
"""Writes the newest version of every message."""


def parse_versions(entries: Sequence[str]) -> dict[type[Message], int]:
    """Return the versions of entries such as ``find_driver=1``. Raises UnknownVersion."""
    by_name = {message_name(body): body for body in BODY_TYPES.values()}
    versions = {}
    for entry in entries:
        name, _, number = entry.partition("=")
        if name not in by_name:
            raise UnknownVersion(f"{entry!r}: no message is named {name!r}; there are {', '.join(sorted(by_name))}")
        newest = len(versions_of(by_name[name]))
        if number not in map(str, range(1, newest + 1)):
            raise UnknownVersion(f"{entry!r}: {name} has the versions 1 to {newest}")
        versions[by_name[name]] = int(number)
    return versions
