"""Fleets' handlers: call the partner, reserve a driver, apply the verdict on the offer."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from prebook.contracts.events import OfferSettled, OfferVerdict, RoutePlanned
from prebook.contracts.fleets import AskFleet, DeclineCause, FleetDeclined, FleetOffered
from prebook.contracts.message import Message
from prebook.fleets.domain.fleet import FLEETS, RESERVATION_TTL, candidate_drivers, covered_slots
from prebook.fleets.domain.message_translators import PartnerAccepted, PartnerDeclined
from prebook.fleets.metrics import count_partner_reply
from prebook.fleets.partner_exchange import NoReply, PartnerExchange, call_partner
from prebook.fleets.partners.simulation import PartnerCall
from prebook.fleets.store import FleetsWork, Reservation, UnreadableReply
from prebook.messaging.handlers import HandlerContext, HandlerResult
from prebook.patterns.normalizer import UnreadableMessage

MAX_KEPT_BYTES = 64 * 1024
"""Maximum number of bytes that are kept of an unreadable reply; readable replies are far shorter."""


def partner_caller(
    partners: Mapping[str, PartnerCall], timeout_s: float
) -> Callable[[HandlerContext, AskFleet], Awaitable[PartnerExchange]]:
    """Pre-transaction step that calls the partner fleet and waits ``timeout_s`` seconds for its reply."""

    async def pre_transaction(_: HandlerContext, request: AskFleet) -> PartnerExchange:
        if request.fleet not in partners:
            return PartnerExchange(request, PartnerDeclined("no such fleet"))
        exchange = await call_partner(partners[request.fleet], request, timeout_s)
        count_partner_reply(request.fleet, exchange.outcome)
        return exchange

    return pre_transaction


async def offer_driver(context: HandlerContext, exchange: PartnerExchange, work: FleetsWork) -> HandlerResult:
    """Reserve a driver and offer it if the partner accepts. An unreadable reply is recorded and counts as declined."""
    match exchange.reply:
        case PartnerAccepted(minutes_away=minutes):
            return HandlerResult(await _reserve_driver(context, exchange.request, minutes, work))
        case PartnerDeclined(reason=reason):
            return _declined(exchange, reason, DeclineCause.DECLINED)
        case UnreadableMessage() as unreadable:
            await work.record_unreadable(_recorded(context, exchange.request.fleet, unreadable))
            return _declined(exchange, "unreadable reply", DeclineCause.UNREADABLE)
        case NoReply():
            return _declined(exchange, "no reply in time", DeclineCause.NO_REPLY)


async def handle_offer_settled(context: HandlerContext, event: OfferSettled, work: FleetsWork) -> HandlerResult:
    """Confirm the reservation of an accepted offer; release it otherwise, even one that matching never heard of."""
    if event.verdict is OfferVerdict.WITHDRAWN:
        await work.withdraw(event.fleet, context.conversation_id)
        return HandlerResult()
    apply_verdict = work.confirm if event.verdict is OfferVerdict.ACCEPTED else work.release
    await apply_verdict(event.fleet, event.driver, context.conversation_id)
    return HandlerResult()


async def handle_route_planned(_: HandlerContext, event: RoutePlanned, work: FleetsWork) -> HandlerResult:
    """Keep the newest route of the booking, for the navigation of its driver."""
    await work.save_route(event.booking_id, event.revision, event.geometry)
    return HandlerResult()


def _declined(exchange: PartnerExchange, reason: str, cause: DeclineCause) -> HandlerResult:
    return HandlerResult(FleetDeclined(fleet=exchange.request.fleet, reason=reason, cause=cause))


def _recorded(context: HandlerContext, fleet: str, unreadable: UnreadableMessage) -> UnreadableReply:
    message = unreadable.message
    return UnreadableReply(
        booking_id=context.conversation_id,
        fleet=fleet,
        message_id=context.message_id,
        received_at=context.now,
        unreadable=replace(unreadable, message=replace(message, body=message.body[:MAX_KEPT_BYTES])),
    )


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
