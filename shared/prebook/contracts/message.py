"""Base class of all message bodies, and the synthetic reply."""

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message body.

    A receiver ignores fields that it does not know; a change of meaning is a new version, not a new field.
    Source: Fowler, "Tolerant Reader".
    """


class Unavailable(Message, frozen=True, kw_only=True):
    """Synthetic reply in place of a missing one: the provider was down, late, overloaded or not reachable in time."""

    reason: str
    """One of: ``deadline`` (nothing came in time), ``unreachable``, ``refused`` (overloaded), ``circuit_open``."""
