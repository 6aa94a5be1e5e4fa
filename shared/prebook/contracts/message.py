"""Base class of all message bodies, and the synthetic reply."""

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message body. Unknown fields are refused; a change of meaning is a new version, not a new field."""


class Unavailable(Message, frozen=True, kw_only=True):
    """Synthetic reply in place of a missing one: the provider was down, late, overloaded or not reachable in time."""

    reason: str
    """One of: ``deadline`` (nothing came in time), ``unreachable``, ``refused`` (overloaded), ``circuit_open``."""
