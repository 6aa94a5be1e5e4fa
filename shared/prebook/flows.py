"""The catalogue of conversations: who asks whom for what, and who tells what has happened.

A flow says nothing about transport. How it travels is chosen per flow and per booking by a plan.
"""

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from prebook.contracts.events import BookingConfirmed, BookingEnded, OfferSettled, ReportDue
from prebook.contracts.fleets import AskFleet, FleetDeclined, FleetOffered, FleetReply
from prebook.contracts.matching import DriverMatched, DriverReply, FindDriver, NoDriverFound
from prebook.contracts.message import Message, Unavailable
from prebook.contracts.notification import NotifyRider, RiderNotified
from prebook.contracts.pricing import FareQuoted, FareRefused, FareReply, QuoteFare

Req = TypeVar("Req", bound=Message)
Rep = TypeVar("Rep", bound=Message)
Evt = TypeVar("Evt", bound=Message)


@dataclass(frozen=True)
class Request:
    """A request that a process wants made; not yet an envelope, not yet sent."""

    flow: str
    body: Message
    key: str = ""
    """Tells several asks of one flow in one conversation apart; the same key again is the same request."""
    delay_s: float = 0.0
    """How long to wait before it leaves."""


@dataclass(frozen=True)
class Event:
    """Something that has happened and that a process wants told; nobody is addressed."""

    body: Message
    key: str = ""
    """Tells several facts of one type in one conversation apart; the same key again is the same fact."""


@dataclass(frozen=True)
class Flow(Generic[Req, Rep]):
    """One kind of question between two services, and its possible answers."""

    name: str
    caller: str
    provider: str
    request_type: type[Req]
    reply_types: tuple[type[Rep], ...]
    ordered: bool = True
    """Whether what one conversation asks by this flow must leave in order; a scatter need not."""
    partitions: int = 0
    """Into how many partitions its requests are grouped, so that one conversation's are handled in order; 0: not."""

    def new_request(self, body: Req, *, key: str = "", delay_s: float = 0.0) -> Request:
        return Request(self.name, body, key, delay_s)

    @property
    def possible_reply_types(self) -> tuple[type[Message], ...]:
        """Every body that may come back, the missing answer included."""
        return (*self.reply_types, Unavailable)


QUOTE_FARE: Flow[QuoteFare, FareReply] = Flow("quote_fare", "booking", "pricing", QuoteFare, (FareQuoted, FareRefused))
FIND_DRIVER: Flow[FindDriver, DriverReply] = Flow(
    "find_driver", "booking", "matching", FindDriver, (DriverMatched, NoDriverFound)
)
ASK_FLEET: Flow[AskFleet, FleetReply] = Flow(
    "ask_fleet", "matching", "fleets", AskFleet, (FleetOffered, FleetDeclined), ordered=False
)
NOTIFY_RIDER: Flow[NotifyRider, RiderNotified] = Flow(
    "notify_rider", "booking", "notification", NotifyRider, (RiderNotified,), partitions=4
)
"""A ride that is confirmed and then cancelled: the rider must not hear it the other way round."""

ALL_FLOWS: tuple[Flow[Any, Any], ...] = (QUOTE_FARE, FIND_DRIVER, ASK_FLEET, NOTIFY_RIDER)
FLOWS: dict[str, Flow[Any, Any]] = {flow.name: flow for flow in ALL_FLOWS}


@dataclass(frozen=True)
class EventType(Generic[Evt]):
    """A kind of fact: who publishes it, and which of our services want to hear it."""

    name: str
    publisher: str
    body_type: type[Evt]
    subscribers: frozenset[str] = field(default_factory=frozenset)

    def new_event(self, body: Evt, *, key: str = "") -> Event:
        return Event(body, key)


BOOKING_CONFIRMED = EventType("booking_confirmed", "booking", BookingConfirmed)
BOOKING_ENDED = EventType("booking_ended", "booking", BookingEnded, frozenset({"pricing", "matching"}))
REPORT_DUE = EventType("report_due", "booking", ReportDue, frozenset({"booking"}))
OFFER_SETTLED = EventType("offer_settled", "matching", OfferSettled, frozenset({"fleets"}))

EVENT_TYPES: tuple[EventType[Any], ...] = (BOOKING_CONFIRMED, BOOKING_ENDED, REPORT_DUE, OFFER_SETTLED)
EVENT_TYPE_BY_BODY: dict[type[Message], EventType[Any]] = {a.body_type: a for a in EVENT_TYPES}

EVENT_PARTITIONS: dict[str, int] = {"booking": 4}
"""By subscriber: who must hear of one conversation in order. A rider's own system is told of each outcome in turn."""

SERVICES: tuple[str, ...] = ("booking", "pricing", "matching", "notification", "fleets")
OPERATIONS = "operations"
"""Takes part in no flow: it takes in what the services cannot handle, and sends it again."""
PROCESSES: tuple[str, ...] = (*SERVICES, OPERATIONS)
"""All that runs beside broker and database, each with its own schema, role and user."""
