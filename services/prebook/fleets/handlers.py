"""Fleets' handlers: call the partner, reserve a driver, apply the verdict on the offer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from prebook.contracts.events import OfferSettled, OfferVerdict
from prebook.contracts.fleets import AskFleet, FleetDeclined, FleetOffered
from prebook.contracts.message import Message
from prebook.fleets.domain.fleet import FLEETS, RESERVATION_TTL, candidate_drivers, covered_slots
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
"""Timeout of a partner's reply, in seconds, during which the rider waits."""


@dataclass(frozen=True)
class PartnerExchange:
    """A request and the partner's reply to it."""

    request: AskFleet
    reply: PartnerReply


def partner_caller(
    partners: Mapping[str, Callable[[bytes], Awaitable[bytes]]], timeout_s: float = PARTNER_TIMEOUT_S
) -> Callable[[HandlerContext, AskFleet], Awaitable[PartnerExchange]]:
    """Pre-transaction step that calls the partner fleet. If the partner does not reply in time, it has declined."""

    async def pre_transaction(_: HandlerContext, request: AskFleet) -> PartnerExchange:
        if request.fleet not in partners:
            return PartnerExchange(request, PartnerDeclined("no such fleet"))
        translator = TRANSLATORS[request.fleet]
        try:
            async with asyncio.timeout(timeout_s):
                raw_reply = await partners[request.fleet](translator.encode_request(request))
        except TimeoutError:
            return PartnerExchange(request, PartnerDeclined("no reply in time"))
        return PartnerExchange(request, translator.read_reply(raw_reply))

    return pre_transaction


async def offer_driver(context: HandlerContext, exchange: PartnerExchange, work: FleetsWork) -> HandlerResult:
    """Reserve a driver and offer it if the partner accepts. An unreadable reply is recorded and counts as declined."""
    match exchange.reply:
        case PartnerAccepted(minutes_away=minutes):
            return HandlerResult(await _reserve_driver(context, exchange.request, minutes, work))
        case PartnerDeclined(reason=reason):
            return HandlerResult(FleetDeclined(fleet=exchange.request.fleet, reason=reason))
        case UnreadableReply(excerpt=excerpt):
            await work.record_unreadable(exchange.request.fleet, context.conversation_id, excerpt)
            return HandlerResult(FleetDeclined(fleet=exchange.request.fleet, reason="unreadable reply"))


async def handle_offer_settled(context: HandlerContext, event: OfferSettled, work: FleetsWork) -> HandlerResult:
    """Confirm the reservation of an accepted offer; release it otherwise, even one that matching never heard of."""
    if event.verdict is OfferVerdict.WITHDRAWN:
        await work.withdraw(event.fleet, context.conversation_id)
        return HandlerResult()
    apply_verdict = work.confirm if event.verdict is OfferVerdict.ACCEPTED else work.release
    await apply_verdict(event.fleet, event.driver, context.conversation_id)
    return HandlerResult()


async def _reserve_driver(context: HandlerContext, request: AskFleet, minutes_away: int, work: FleetsWork) -> Message:
    slots = covered_slots(request.pickup_at, request.ride_minutes)
    reservation = Reservation(
        fleet=request.fleet,
        slots=slots,
        booking_id=context.conversation_id,
        now=context.now,
        expires_at=context.now + RESERVATION_TTL,
    )
    driver = await work.reserve(reservation, candidate_drivers(FLEETS[request.fleet], context.conversation_id))
    if driver is None:
        return FleetDeclined(fleet=request.fleet, reason="no driver left for the time of the ride")
    return FleetOffered(fleet=request.fleet, driver=driver, slot=slots[0], minutes_away=minutes_away)
