"""The base of everything that crosses a service boundary."""

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message body. Unknown fields are refused; a change of meaning is a new version, not a new field."""


class Unavailable(Message, frozen=True, kw_only=True):
    """The answer that did not come: the provider was down, late, overloaded, or could not be asked in time."""

    reason: str
    """One of: ``deadline`` (nothing came in time), ``unreachable``, ``refused`` (overloaded), ``circuit_open``."""
