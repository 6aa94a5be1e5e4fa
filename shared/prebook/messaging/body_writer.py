"""Body writer of a service: the versions and formats in which it writes the bodies of its messages.

A service writes the newest version, in JSON. While receivers are upgraded one after the other, it writes an older one
that they all know.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from prebook.contracts.message import Message
from prebook.contracts.versions import versions_of
from prebook.flows import EVENT_TYPES, FLOWS
from prebook.messaging.body_codec import BODY_TYPES, MSGPACK, encode_body, message_name
from prebook.messaging.envelope import JSON, Envelope

FORMATS: Mapping[str, str] = {"json": JSON, "msgpack": MSGPACK}
"""Content type by the name of a format."""


class UnknownForm(ValueError):
    """No message, flow or event has this name, or there is no such version or format."""


@dataclass(frozen=True, slots=True)
class BodyWriter:
    """Chooses the form in which each new message of a service is written."""

    versions: Mapping[type[Message], int] = field(default_factory=dict)
    """Version of a message, numbered from 1, by the class of its newest; a message that is missing has the newest."""
    content_types: Mapping[str, str] = field(default_factory=dict)
    """Content type of the messages of a flow, or of an event; JSON if it is missing."""

    def write(self, envelope: Envelope) -> Envelope:
        """Return a new message with its body written; one in the default form is returned as it is.

        Raises ValueError if the version cannot say what the body says.
        """
        version = self.versions.get(type(envelope.body))
        content_type = self.content_types.get(envelope.flow, JSON)
        if version is None and content_type == JSON:
            return envelope
        return replace(envelope, encoded_body=encode_body(envelope.body, version, content_type))


DEFAULT_WRITER = BodyWriter()
"""Writes the newest version of every message, in JSON."""


def parse_versions(entries: Sequence[str]) -> dict[type[Message], int]:
    """Return the versions of entries such as ``find_driver=1``. Raises UnknownForm."""
    by_name = {message_name(body): body for body in BODY_TYPES.values()}
    versions = {}
    for entry in entries:
        name, _, number = entry.partition("=")
        if name not in by_name:
            raise UnknownForm(f"{entry!r}: no message is named {name!r}; there are {', '.join(sorted(by_name))}")
        newest = len(versions_of(by_name[name]))
        if number not in map(str, range(1, newest + 1)):
            raise UnknownForm(f"{entry!r}: {name} has the versions 1 to {newest}")
        versions[by_name[name]] = int(number)
    return versions


def parse_formats(entries: Sequence[str]) -> dict[str, str]:
    """Return the content types of entries such as ``quote_fare=msgpack``, by flow or event. Raises UnknownForm."""
    names = {*FLOWS, *(event.name for event in EVENT_TYPES)}
    content_types = {}
    for entry in entries:
        name, _, format_ = entry.partition("=")
        if name not in names:
            raise UnknownForm(f"{entry!r}: no flow or event is named {name!r}; there are {', '.join(sorted(names))}")
        if format_ not in FORMATS:
            raise UnknownForm(f"{entry!r}: the formats are {' and '.join(FORMATS)}")
        content_types[name] = FORMATS[format_]
    return content_types
