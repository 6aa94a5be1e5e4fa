"""Fake channels, for tests of the messaging core without couplings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prebook.contracts.message import Message
from prebook.contracts.notification import Notice, NotifyRider, RiderNotified
from prebook.messaging.channel import CouplingTraits
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Unreachable
from tests.booking.booking_suite import MATCHED, NOW, QUOTED


@dataclass
class FakeChannel:
    """Channel that replies inline at once, or whose provider is unreachable if it has no reply to a flow."""

    traits: CouplingTraits
    wait_s: float | None = None
    replies: Mapping[str, Message] = field(
        default_factory=lambda: {
            "quote_fare": QUOTED,
            "find_driver": MATCHED,
            "notify_rider": RiderNotified(notice=Notice.CONFIRMED),
        }
    )

    def route(self, envelope: Envelope) -> str:
        return "fake"

    def addressed(self, request: Envelope) -> Envelope:
        return request

    async def send(self, envelope: Envelope) -> Envelope | None:
        reply = self.replies.get(envelope.flow)
        if reply is None:
            raise Unreachable("no provider")
        if isinstance(envelope.body, NotifyRider):
            reply = RiderNotified(notice=envelope.body.notice)
        return envelope.reply_with(reply, source="provider", at=NOW)

    async def reply(self, reply: Envelope) -> None: ...

    async def poll(self, request: Envelope) -> Envelope | None:
        return None

    def retry_after_s(self, provider: str) -> float | None:
        return self.wait_s


def inline_channel(**changes: Any) -> FakeChannel:
    return FakeChannel(CouplingTraits(replies_inline=True, needs_broker_up=False, uses_outbox=False), **changes)


def queued_channel(**changes: Any) -> FakeChannel:
    return FakeChannel(CouplingTraits(replies_inline=False, needs_broker_up=True, uses_outbox=True), **changes)
