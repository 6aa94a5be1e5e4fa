"""Port of the caller to a coupling, and the traits that a caller can rely on.

Source: EIP, Channel Adapter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from prebook.contracts.plan import Coupling
from prebook.messaging.envelope import Envelope


@dataclass(frozen=True, slots=True)
class CouplingTraits:
    """Promises of a coupling. Tests, diagrams and the report read these values, never the class."""

    replies_inline: bool
    """``send`` returns the reply."""
    needs_broker_up: bool
    """Messages can be sent only while the broker is up."""
    uses_outbox: bool
    """Requests and replies are written to the outbox in the business transaction and sent by the relay."""
    polls: bool = False
    """The caller polls (``Channel.poll``) for a reply that does not arrive."""


class Channel(Protocol):
    """One coupling, in both directions: requests of the caller and replies of the provider."""

    @property
    def traits(self) -> CouplingTraits:
        """Promises of the coupling."""
        ...

    def route(self, envelope: Envelope) -> str:
        """Outbox route of a message. A route that is down or slow does not delay other routes."""
        ...

    def addressed(self, request: Envelope) -> Envelope:
        """Return the request with the address that its reply goes to. Source: EIP, Return Address."""
        ...

    async def send(self, envelope: Envelope) -> Envelope | None:
        """Send a request or an event. Returns the reply if the coupling replies inline, otherwise None.

        Raises Unreachable (retry later), Undeliverable (never).
        """
        ...

    async def reply(self, reply: Envelope) -> None:
        """Send a reply to its return address. Raises Unreachable (retry later), Undeliverable (never)."""
        ...

    async def poll(self, request: Envelope) -> Envelope | None:
        """Ask the provider for the reply to a request; called only if the coupling polls.

        Returns None if there is no reply yet. Raises Unreachable, Undeliverable.
        """
        ...

    def retry_after_s(self, provider: str) -> float | None:
        """Seconds until a request to ``provider`` may succeed again; None if the channel knows no reason to wait."""
        ...


Channels = Mapping[Coupling, Channel]
"""One channel per coupling."""
