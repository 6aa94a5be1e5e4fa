"""The caller's port to a coupling, and what a caller can rely on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from prebook.contracts.plan import Coupling
from prebook.messaging.envelope import Envelope


@dataclass(frozen=True, slots=True)
class CouplingTraits:
    """What a coupling promises. Tests, drawings and the report read these, never the class."""

    replies_inline: bool
    """The answer is there when ``send`` returns."""
    needs_provider_up: bool
    """A request leaves only while its provider is there to take it."""
    needs_broker_up: bool
    uses_outbox: bool
    """Requests and answers are written in the business transaction and sent by the relay."""
    polls: bool = False
    """An answer that does not come by itself is asked after."""


class Channel(Protocol):
    """One coupling, both ways."""

    @property
    def traits(self) -> CouplingTraits: ...

    def route(self, envelope: Envelope) -> str:
        """What it queues behind in the outbox; one lane's trouble does not hold another's."""
        ...

    def addressed(self, request: Envelope) -> Envelope:
        """The request with the address that its answer returns to."""
        ...

    async def send(self, envelope: Envelope) -> Envelope | None:
        """Hand a request (or a fact) over; the answer if it is already there. Raises Unreachable, Undeliverable."""
        ...

    async def reply(self, reply: Envelope) -> None:
        """Take an answer to where its request said. Raises Unreachable, Undeliverable."""
        ...

    def retry_after_s(self, provider: str) -> float | None:
        """Seconds until it makes sense to ask this provider again, where that is known; None: now."""
        ...


Channels = Mapping[Coupling, Channel]
