"""Fleets' handlers: ask the partner, hold a driver, hear how the offer ended."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from prebook.contracts.events import OfferSettled, OfferVerdict
from prebook.contracts.fleets import AskFleet, FleetDeclined, FleetOffered
from prebook.contracts.message import Message
from prebook.fleets.domain.fleet import FLEETS, HOLD, candidates, slot_of
from prebook.fleets.domain.message_translators import TRANSLATORS, Accepts, Declines, Reply, Unreadable
from prebook.fleets.store import FleetsWork, Hold
from prebook.messaging.handlers import Context, Outcome

PATIENCE_S = 2.0
"""How long a partner may take; ours is the rider's time."""


@dataclass(frozen=True)
class Heard:
    """The question, and what the partner replied."""

    ask: AskFleet
    reply: Reply


def ask_partner(
    partners: Mapping[str, Callable[[bytes], Awaitable[bytes]]], patience_s: float = PATIENCE_S
) -> Callable[[Context, AskFleet], Awaitable[Heard]]:
    async def consult(_: Context, ask: AskFleet) -> Heard:
        if ask.fleet not in partners:
            return Heard(ask, Declines("no such fleet"))
        translator = TRANSLATORS[ask.fleet]
        try:
            async with asyncio.timeout(patience_s):
                said = await partners[ask.fleet](translator.speak(ask))
        except TimeoutError:
            return Heard(ask, Declines("no reply in time"))
        return Heard(ask, translator.reply(said))

    return consult


async def offer(about: Context, heard: Heard, work: FleetsWork) -> Outcome:
    """A partner that accepts still needs a driver who is free; one that cannot be understood has declined."""
    match heard.reply:
        case Accepts(minutes_away=minutes):
            return Outcome(await _offered(about, heard.ask, minutes, work))
        case Declines(reason=reason):
            return Outcome(FleetDeclined(fleet=heard.ask.fleet, reason=reason))
        case Unreadable(excerpt=excerpt):
            await work.note_unreadable(heard.ask.fleet, about.conversation, excerpt)
            return Outcome(FleetDeclined(fleet=heard.ask.fleet, reason="unreadable reply"))


async def offer_settled(about: Context, told: OfferSettled, work: FleetsWork) -> Outcome:
    ended = work.book if told.verdict is OfferVerdict.ACCEPTED else work.release
    await ended(told.fleet, told.driver, about.conversation)
    return Outcome()


async def _offered(about: Context, ask: AskFleet, minutes: int, work: FleetsWork) -> Message:
    slot = slot_of(ask.pickup_at)
    hold = Hold(fleet=ask.fleet, slot=slot, booking_id=about.conversation, now=about.now, until=about.now + HOLD)
    driver = await work.hold(hold, candidates(FLEETS[ask.fleet], about.conversation))
    if driver is None:
        return FleetDeclined(fleet=ask.fleet, reason="no driver left in the slot")
    return FleetOffered(fleet=ask.fleet, driver=driver, slot=slot, minutes_away=minutes)
