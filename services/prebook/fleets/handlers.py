"""Fleets' handlers: ask the partner, hold a driver, hear how the offer ended."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from prebook.contracts.facts import OfferSettled, OfferVerdict
from prebook.contracts.fleets import AskFleet, FleetDeclined, FleetOffered
from prebook.fleets.domain.fleet import FLEETS, candidates, chance_of, slot_of
from prebook.fleets.domain.translators import TRANSLATORS, Declines, Reply
from prebook.fleets.partners.simulated import exchange
from prebook.fleets.store import FleetsWork
from prebook.messaging.outcome import Context, Outcome

PROBES = 4


@dataclass(frozen=True)
class Heard:
    """The question, and what the partner replied."""

    ask: AskFleet
    reply: Reply


def ask_partner(seed: int) -> Callable[[Context, AskFleet], Awaitable[Heard]]:
    async def consult(_: Context, ask: AskFleet) -> Heard:
        if ask.fleet not in FLEETS:
            return Heard(ask, Declines("no such fleet"))
        translator = TRANSLATORS[ask.fleet]
        said = await exchange(FLEETS[ask.fleet], chance_of(seed, ask), translator.speak(ask))
        return Heard(ask, translator.reply(said))

    return consult


async def offer(about: Context, heard: Heard, work: FleetsWork) -> Outcome:
    """A partner that accepts still needs a driver who is free."""
    ask, reply = heard.ask, heard.reply
    if isinstance(reply, Declines):
        return Outcome(FleetDeclined(fleet=ask.fleet, reason=reply.reason))
    driver = await _held(about.conversation, ask, work)
    if driver is None:
        return Outcome(FleetDeclined(fleet=ask.fleet, reason="no driver left in the slot"))
    slot = slot_of(ask.pickup_at)
    return Outcome(FleetOffered(fleet=ask.fleet, driver=driver, slot=slot, minutes_away=reply.minutes_away))


async def offer_settled(about: Context, told: OfferSettled, work: FleetsWork) -> Outcome:
    ended = work.book if told.verdict is OfferVerdict.ACCEPTED else work.release
    await ended(told.fleet, about.conversation)
    return Outcome()


async def _held(booking_id: str, ask: AskFleet, work: FleetsWork) -> str | None:
    for attempt in range(PROBES):
        tried = candidates(FLEETS[ask.fleet], booking_id, attempt)
        if driver := await work.hold(ask.fleet, booking_id, slot_of(ask.pickup_at), tried):
            return driver
    return None
