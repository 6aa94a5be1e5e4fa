"""Fleets' handlers: ask the partner, hold a driver, hear how the offer ended."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from prebook.contracts.events import OfferSettled, OfferVerdict
from prebook.contracts.fleets import AskFleet, FleetDeclined, FleetOffered
from prebook.contracts.message import Message
from prebook.fleets.domain.fleet import FLEETS, RESERVATION_TTL, candidate_drivers, slot_of
from prebook.fleets.domain.message_translators import (
    TRANSLATORS,
    PartnerAccepted,
    PartnerDeclined,
    PartnerReply,
    UnreadableReply,
)
from prebook.fleets.store import FleetsWork, Reservation
from prebook.messaging.handlers import HandlerContext, HandlerResult

PARTNER_TIMEOUT_S = 2.0
"""How long a partner may take; ours is the rider's time."""


@dataclass(frozen=True)
class PartnerExchange:
    """The question, and what the partner replied."""

    request: AskFleet
    reply: PartnerReply


def partner_caller(
    partners: Mapping[str, Callable[[bytes], Awaitable[bytes]]], timeout_s: float = PARTNER_TIMEOUT_S
) -> Callable[[HandlerContext, AskFleet], Awaitable[PartnerExchange]]:
    async def pre_transaction(_: HandlerContext, ask: AskFleet) -> PartnerExchange:
        if ask.fleet not in partners:
            return PartnerExchange(ask, PartnerDeclined("no such fleet"))
        translator = TRANSLATORS[ask.fleet]
        try:
            async with asyncio.timeout(timeout_s):
                said = await partners[ask.fleet](translator.encode_request(ask))
        except TimeoutError:
            return PartnerExchange(ask, PartnerDeclined("no reply in time"))
        return PartnerExchange(ask, translator.read_reply(said))

    return pre_transaction


async def offer_driver(context: HandlerContext, exchange: PartnerExchange, work: FleetsWork) -> HandlerResult:
    """A partner that accepts still needs a driver who is free; one that cannot be understood has declined."""
    match exchange.reply:
        case PartnerAccepted(minutes_away=minutes):
            return HandlerResult(await _reserve_driver(context, exchange.request, minutes, work))
        case PartnerDeclined(reason=reason):
            return HandlerResult(FleetDeclined(fleet=exchange.request.fleet, reason=reason))
        case UnreadableReply(excerpt=excerpt):
            await work.record_unreadable(exchange.request.fleet, context.conversation_id, excerpt)
            return HandlerResult(FleetDeclined(fleet=exchange.request.fleet, reason="unreadable reply"))


async def handle_offer_settled(context: HandlerContext, event: OfferSettled, work: FleetsWork) -> HandlerResult:
    ended = work.confirm if event.verdict is OfferVerdict.ACCEPTED else work.release
    await ended(event.fleet, event.driver, context.conversation_id)
    return HandlerResult()


async def _reserve_driver(context: HandlerContext, request: AskFleet, minutes_away: int, work: FleetsWork) -> Message:
    slot = slot_of(request.pickup_at)
    hold = Reservation(
        fleet=request.fleet,
        slot=slot,
        booking_id=context.conversation_id,
        now=context.now,
        expires_at=context.now + RESERVATION_TTL,
    )
    driver = await work.reserve(hold, candidate_drivers(FLEETS[request.fleet], context.conversation_id))
    if driver is None:
        return FleetDeclined(fleet=request.fleet, reason="no driver left in the slot")
    return FleetOffered(fleet=request.fleet, driver=driver, slot=slot, minutes_away=minutes_away)
