"""Laws of the normalizer, as pure functions of exchanges with partners and of the dead letters about them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from prebook.contracts.fleets import AskFleet, DeclineCause, FleetDeclined, FleetOffered, FleetReply
from prebook.contracts.partners import PartnerCondition
from prebook.fleets.domain.message_translators import MAX_MINUTES_AWAY, TRANSLATORS, PartnerAccepted, read_reply
from prebook.fleets.partners.conditions import change_reply
from prebook.fleets.partners.registry import PARTNERS
from prebook.fleets.partners.simulation import QUARTER_HOUR_S, PartnerRide, WireFormat
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.normalizer.golden import REPLIES, REQUESTS, golden_request, unreadable
from prebook.patterns.normalizer import ForeignMessage, UnreadableCause, UnreadableMessage

RIGHT = "a translator for each format"
WRONG = "cast in the consumer"
GOLDEN = "golden pairs that are translated otherwise = 0"
IDENTITY = "requests and offers that differ after there and back = 0"
VALUES = "offers with other minutes than the partner meant = 0"
ACCOUNTED = "requests to partners = replies translated + unreadable + missing"
PARKED = "unreadable replies = dead letters that operations lists"
KEPT = "dead letters without the bytes, the format or the cause of their reply = 0"
COUNTED = "unreadable replies since the restart = those that the metric counts"
WIRE_FORMATS: Mapping[str, WireFormat] = {profile.name: wire_format for profile, wire_format in PARTNERS}
CAUSES = {
    PartnerCondition.GARBLED: UnreadableCause.GARBLED,
    PartnerCondition.UPGRADED: UnreadableCause.UNKNOWN_VERSION,
}
"""Condition of a partner -> cause of its dead letters."""
NUMBER = re.compile(rb"\d+")


@dataclass(frozen=True)
class KeptReply:
    """Dead letter about a reply of a partner."""

    cause: str
    media_type: str
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """Request to a partner, and what became of it."""

    fleet: str
    sent: ForeignMessage
    """Reply of the partner in good health; a condition may have changed it."""
    reply: FleetReply | None
    """Reply of fleets; None if none came."""
    kept: tuple[KeptReply, ...]
    """Dead letters about it."""

    @property
    def cause(self) -> DeclineCause | None:
        """Cause of a refusal."""
        return self.reply.cause if isinstance(self.reply, FleetDeclined) else None

    @property
    def is_unreadable(self) -> bool:
        """Whether fleets could not read the partner's reply."""
        return self.cause is DeclineCause.UNREADABLE

    @property
    def is_translated(self) -> bool:
        """Whether fleets has read the partner's reply."""
        return isinstance(self.reply, FleetOffered) or self.cause is DeclineCause.DECLINED


@dataclass(frozen=True, kw_only=True)
class ExchangesSeen:
    """One run. ``listed``: dead letters that operations lists; ``counted``: by the metric, since the restart."""

    exchanges: Sequence[Exchange]
    since_restart: Sequence[Exchange]
    """Those of ``exchanges`` that the restarted process has handled alone."""
    listed: int
    counted: int


def exchange_checks(seen: ExchangesSeen) -> Iterable[LawCheck]:
    """Yield the checks of one run."""
    translated = sum(each.is_translated for each in seen.exchanges)
    unreadable = count_unreadable(seen.exchanges)
    missing = sum(each.cause is DeclineCause.NO_REPLY for each in seen.exchanges)
    altered = sum(not is_as_sent(each, kept) for each in seen.exchanges for kept in each.kept)
    requests = ("requests", len(seen.exchanges))
    yield check_law(ACCOUNTED, RIGHT, requests, Relation.EQUAL, ("sum", translated + unreadable + missing))
    yield check_law(PARKED, RIGHT, ("unreadable", unreadable), Relation.EQUAL, ("listed", seen.listed))
    yield check_law(KEPT, RIGHT, ("altered", altered), Relation.EQUAL, ("", 0))
    counted = ("counted", seen.counted)
    yield check_law(COUNTED, RIGHT, ("unreadable", count_unreadable(seen.since_restart)), Relation.EQUAL, counted)
    for arrangement, wrong, expected in (
        (RIGHT, count_wrong_offers(seen.exchanges), LawVerdict.HELD),
        (WRONG, count_wrong_casts(seen.exchanges), LawVerdict.VIOLATED),
    ):
        yield check_law(VALUES, arrangement, ("wrong", wrong), Relation.EQUAL, ("", 0), expected=expected)


def pair_checks(requests: Iterable[AskFleet]) -> Iterable[LawCheck]:
    """Yield the checks of the golden pairs, and of there and back, which need no server."""
    differing = count_changed_offers() + sum(not is_same_ride(request) for request in requests)
    yield check_law(GOLDEN, RIGHT, ("differing", count_wrong_pairs()), Relation.EQUAL, ("", 0))
    yield check_law(IDENTITY, RIGHT, ("differing", differing), Relation.EQUAL, ("", 0))


def count_wrong_pairs() -> int:
    """Return how many golden pairs our translators translate otherwise."""
    wrong_requests = sum(
        TRANSLATORS[fleet].encode_request(golden_request(fleet)) != body for fleet, body in REQUESTS.items()
    )
    wrong_replies = sum(
        read_reply(ForeignMessage(media_type, body))
        != (unreadable(meaning, media_type, body) if isinstance(meaning, UnreadableCause) else meaning)
        for media_type, body, meaning in REPLIES
    )
    return wrong_requests + wrong_replies


def count_changed_offers() -> int:
    """Return how many offers are others once a partner has encoded and our translator has decoded them."""
    return sum(
        read_reply(ForeignMessage(wire_format.media_type, wire_format.encode_offer(minutes)))
        != PartnerAccepted(minutes)
        for wire_format in WIRE_FORMATS.values()
        for minutes in range(MAX_MINUTES_AWAY + 1)
    )


def is_same_ride(request: AskFleet) -> bool:
    """Return whether the partner decodes the ride that we have encoded; each class has another first letter."""
    ride = WIRE_FORMATS[request.fleet].decode_request(TRANSLATORS[request.fleet].encode_request(request))
    return (
        ride
        == PartnerRide(
            lat=round(request.pickup.lat * 1e5),
            lon=round(request.pickup.lon * 1e5),
            quarter=int(request.pickup_at.timestamp()) // QUARTER_HOUR_S,
            tier=ride.tier,
            seats=request.passengers,
        )
        and ride.tier[:1].lower() == str(request.vehicle_class)[:1]
    )


def count_unreadable(exchanges: Iterable[Exchange]) -> int:
    """Return how many replies could not be read."""
    return sum(exchange.is_unreadable for exchange in exchanges)


def count_wrong_offers(exchanges: Iterable[Exchange]) -> int:
    """Return how many offers of fleets have other minutes than the partner meant."""
    return sum(
        each.reply.minutes_away != meant_minutes(each.fleet).get(each.sent.body)
        for each in exchanges
        if isinstance(each.reply, FleetOffered)
    )


def count_wrong_casts(exchanges: Iterable[Exchange]) -> int:
    """Return how many offers of partners have other minutes for a consumer that takes the number in them."""
    meant = ((each.sent.body, meant_minutes(each.fleet).get(each.sent.body)) for each in exchanges)
    return sum(minutes is not None and cast(body) != minutes for body, minutes in meant)


def cast(body: bytes) -> int | None:
    """Return the first number of a reply, whatever its format: the wrong way."""
    found = NUMBER.search(body)
    return int(found[0]) if found else None


@cache
def meant_minutes(fleet: str) -> Mapping[bytes, int]:
    """Return the minutes that a partner means by each of its offers."""
    return {WIRE_FORMATS[fleet].encode_offer(minutes): minutes for minutes in range(MAX_MINUTES_AWAY + 1)}


def is_as_sent(exchange: Exchange, kept: KeptReply) -> bool:
    """Return whether a dead letter has bytes, format and cause of what the partner sent, in one of its conditions."""
    possible = [(cause, change_reply(condition, exchange.sent)) for condition, cause in CAUSES.items()]
    if isinstance(read_reply(exchange.sent), UnreadableMessage):
        possible.append((UnreadableCause.GARBLED, exchange.sent))
    return kept in [KeptReply(cause, sent.media_type, sent.body) for cause, sent in possible]
