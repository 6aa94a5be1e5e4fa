"""The catalogue of conversations: who asks whom for what, and who tells what has happened.

A flow says nothing about transport. How it travels is chosen per flow and per booking by a plan.
"""

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from prebook.contracts.events import BookingConfirmed, BookingEnded, OfferSettled, ReportDue
from prebook.contracts.fleets import AskFleet, FleetAnswer, FleetDeclined, FleetOffered
from prebook.contracts.matching import DriverAnswer, DriverMatched, FindDriver, NoDriverFound
from prebook.contracts.message import Message, Unavailable
from prebook.contracts.notification import NotifyRider, RiderNotified
from prebook.contracts.pricing import FareAnswer, FareQuoted, FareRefused, QuoteFare

Req = TypeVar("Req", bound=Message)
Ans = TypeVar("Ans", bound=Message)
Told = TypeVar("Told", bound=Message)


@dataclass(frozen=True)
class Ask:
    """A request that a process wants made; not yet an envelope, not yet sent."""

    flow: str
    request: Message
    key: str = ""
    """Tells several asks of one flow in one conversation apart; the same key again is the same request."""
    after_s: float = 0.0
    """How long to wait before it leaves."""


@dataclass(frozen=True)
class Fact:
    """Something that has happened and that a process wants told; nobody is addressed."""

    body: Message
    key: str = ""
    """Tells several facts of one type in one conversation apart; the same key again is the same fact."""


@dataclass(frozen=True)
class Flow(Generic[Req, Ans]):
    """One kind of question between two services, and its possible answers."""

    name: str
    caller: str
    provider: str
    request: type[Req]
    answers: tuple[type[Ans], ...]
    ordered: bool = True
    """Whether what one conversation asks by this flow must leave in order; a scatter need not."""
    partitions: int = 0
    """Into how many partitions its requests are grouped, so that one conversation's are handled in order; 0: not."""

    def ask(self, request: Req, *, key: str = "", after_s: float = 0.0) -> Ask:
        return Ask(self.name, request, key, after_s)

    @property
    def replies(self) -> tuple[type[Message], ...]:
        """Every body that may come back, the missing answer included."""
        return (*self.answers, Unavailable)


QUOTE_FARE: Flow[QuoteFare, FareAnswer] = Flow("quote_fare", "booking", "pricing", QuoteFare, (FareQuoted, FareRefused))
FIND_DRIVER: Flow[FindDriver, DriverAnswer] = Flow(
    "find_driver", "booking", "matching", FindDriver, (DriverMatched, NoDriverFound)
)
ASK_FLEET: Flow[AskFleet, FleetAnswer] = Flow(
    "ask_fleet", "matching", "fleets", AskFleet, (FleetOffered, FleetDeclined), ordered=False
)
NOTIFY_RIDER: Flow[NotifyRider, RiderNotified] = Flow(
    "notify_rider", "booking", "notification", NotifyRider, (RiderNotified,), partitions=4
)
"""A ride that is confirmed and then cancelled: the rider must not hear it the other way round."""

CATALOGUE: tuple[Flow[Any, Any], ...] = (QUOTE_FARE, FIND_DRIVER, ASK_FLEET, NOTIFY_RIDER)
FLOWS: dict[str, Flow[Any, Any]] = {flow.name: flow for flow in CATALOGUE}


@dataclass(frozen=True)
class Announcement(Generic[Told]):
    """A kind of fact: who publishes it, and which of our services want to hear it."""

    name: str
    publisher: str
    body: type[Told]
    subscribers: frozenset[str] = field(default_factory=frozenset)

    def fact(self, body: Told, *, key: str = "") -> Fact:
        return Fact(body, key)


BOOKING_CONFIRMED = Announcement("booking_confirmed", "booking", BookingConfirmed)
BOOKING_ENDED = Announcement("booking_ended", "booking", BookingEnded, frozenset({"pricing", "matching"}))
REPORT_DUE = Announcement("report_due", "booking", ReportDue, frozenset({"booking"}))
OFFER_SETTLED = Announcement("offer_settled", "matching", OfferSettled, frozenset({"fleets"}))

ANNOUNCEMENTS: tuple[Announcement[Any], ...] = (BOOKING_CONFIRMED, BOOKING_ENDED, REPORT_DUE, OFFER_SETTLED)
ANNOUNCED: dict[type[Message], Announcement[Any]] = {a.body: a for a in ANNOUNCEMENTS}

FACT_PARTITIONS: dict[str, int] = {"booking": 4}
"""By subscriber: who must hear of one conversation in order. A rider's own system is told of each outcome in turn."""

SERVICES: tuple[str, ...] = ("booking", "pricing", "matching", "notification", "fleets")
OPERATIONS = "operations"
"""Takes part in no flow: it takes in what the services cannot handle, and sends it again."""
PROCESSES: tuple[str, ...] = (*SERVICES, OPERATIONS)
"""All that runs beside broker and database, each with its own schema, role and user."""
