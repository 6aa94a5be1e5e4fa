"""Catalogue of flows and event types: callers and providers, publishers and subscribers, and their message bodies.

A flow does not know its transport. A plan chooses the coupling of every flow, per booking. ``codec.register`` adds the
flows and event types of another project.
"""

from dataclasses import dataclass, field
from typing import Any, Generic, NewType, TypeVar

from prebook.contracts.events import (
    BookingConfirmed,
    BookingEnded,
    LegSettled,
    OfferSettled,
    ReportDue,
    RoutePlanned,
    TripReportDue,
)
from prebook.contracts.fleets import AskFleet, FleetDeclined, FleetOffered, FleetReply
from prebook.contracts.matching import DriverMatched, DriverReply, FindDriver, NoDriverFound
from prebook.contracts.message import Message, Unavailable
from prebook.contracts.notification import NotifyRider, RiderNotified
from prebook.contracts.pricing import FareQuoted, FareRefused, FareReply, QuoteFare

ServiceName = NewType("ServiceName", str)
"""Name of a service. Flows, events and lookups refer to services by constants: a wrong reference is a type error."""
BOOKING = ServiceName("booking")
PRICING = ServiceName("pricing")
MATCHING = ServiceName("matching")
NOTIFICATION = ServiceName("notification")
FLEETS = ServiceName("fleets")
SERVICES: tuple[str, ...] = (BOOKING, PRICING, MATCHING, NOTIFICATION, FLEETS)
OPERATIONS = ServiceName("operations")
"""Service that keeps and replays dead letters; takes part in no flow."""
CONSOLE = ServiceName("console")
"""Commands of operators and the lab, which read the services' internal endpoints; no service."""
PROCESSES: tuple[str, ...] = (*SERVICES, OPERATIONS)
"""All services; each has its own database schema, database role and broker user."""

Req = TypeVar("Req", bound=Message)
Rep = TypeVar("Rep", bound=Message)
Evt = TypeVar("Evt", bound=Message)


@dataclass(frozen=True)
class Request:
    """Request that a process returns to be sent. Source: EIP, Command Message."""

    flow: str
    body: Message
    key: str = ""
    """Distinguishes requests of one flow in one conversation; a request with the same key is a repetition."""
    delay_s: float = 0.0
    """Seconds after the commit before the request is sent."""
    conversation_id: str = ""
    """Conversation of the request; empty: that of the message whose handling it follows from."""


@dataclass(frozen=True)
class Event:
    """Event that a process returns to be published. Source: EIP, Event Message."""

    body: Message
    key: str = ""
    """Distinguishes events of one type in one conversation; an event with the same key is a repetition."""
    conversation_id: str = ""
    """Conversation of the event; empty: that of the message whose handling it follows from."""


@dataclass(frozen=True)
class Flow(Generic[Req, Rep]):
    """Kind of request from one service to another, and its possible replies."""

    name: str
    caller: ServiceName
    provider: ServiceName
    request_type: type[Req]
    reply_types: tuple[type[Rep], ...]
    ordered: bool = True
    """Whether requests of one conversation are sent in order; False for a scatter-gather."""
    partitions: int = 0
    """Number of partitions of the flow's message group, which keeps the requests of a conversation in order; 0: no
    message group."""

    def new_request(self, body: Req, *, key: str = "", delay_s: float = 0.0) -> Request:
        """Return a request of this flow."""
        return Request(self.name, body, key, delay_s)

    @property
    def possible_reply_types(self) -> tuple[type[Message], ...]:
        """Body types of all replies, the synthetic one included."""
        return (*self.reply_types, Unavailable)


QUOTE_FARE: Flow[QuoteFare, FareReply] = Flow("quote_fare", BOOKING, PRICING, QuoteFare, (FareQuoted, FareRefused))
FIND_DRIVER: Flow[FindDriver, DriverReply] = Flow(
    "find_driver", BOOKING, MATCHING, FindDriver, (DriverMatched, NoDriverFound)
)
ASK_FLEET: Flow[AskFleet, FleetReply] = Flow(
    "ask_fleet", MATCHING, FLEETS, AskFleet, (FleetOffered, FleetDeclined), ordered=False
)
NOTIFY_RIDER: Flow[NotifyRider, RiderNotified] = Flow(
    "notify_rider", BOOKING, NOTIFICATION, NotifyRider, (RiderNotified,), partitions=4
)
"""Ordered: a rider must get the confirmation of a ride before its cancellation."""

FLOWS: dict[str, Flow[Any, Any]] = {flow.name: flow for flow in (QUOTE_FARE, FIND_DRIVER, ASK_FLEET, NOTIFY_RIDER)}
ALL_FLOWS = FLOWS.values()


@dataclass(frozen=True)
class EventType(Generic[Evt]):
    """Type of an event: its publisher, body and subscribed services."""

    name: str
    publisher: ServiceName
    body_type: type[Evt]
    subscribers: frozenset[ServiceName] = field(default_factory=frozenset)

    def new_event(self, body: Evt, *, key: str = "", conversation_id: str = "") -> Event:
        """Return an event of this type."""
        return Event(body, key, conversation_id)


BOOKING_CONFIRMED = EventType("booking_confirmed", BOOKING, BookingConfirmed)
BOOKING_ENDED = EventType("booking_ended", BOOKING, BookingEnded, frozenset({PRICING, MATCHING}))
REPORT_DUE = EventType("report_due", BOOKING, ReportDue, frozenset({BOOKING}))
LEG_SETTLED = EventType("leg_settled", BOOKING, LegSettled, frozenset({BOOKING}))
TRIP_REPORT_DUE = EventType("trip_report_due", BOOKING, TripReportDue, frozenset({BOOKING}))
ROUTE_PLANNED = EventType("route_planned", BOOKING, RoutePlanned, frozenset({FLEETS}))
OFFER_SETTLED = EventType("offer_settled", MATCHING, OfferSettled, frozenset({FLEETS}))

EVENT_TYPE_BY_BODY: dict[type[Message], EventType[Any]] = {
    event_type.body_type: event_type
    for event_type in (
        BOOKING_CONFIRMED,
        BOOKING_ENDED,
        REPORT_DUE,
        LEG_SETTLED,
        TRIP_REPORT_DUE,
        ROUTE_PLANNED,
        OFFER_SETTLED,
    )
}
EVENT_TYPES = EVENT_TYPE_BY_BODY.values()

EVENT_PARTITIONS: dict[str, int] = {BOOKING: 4}
"""Number of partitions of a subscriber's events. Booking calls riders back, in the order of the outcomes of a ride, and
adds the outcomes of a trip's legs one after the other."""


@dataclass(frozen=True)
class Lookup:
    """Data of one service that another one reads over signed internal HTTP, outside any flow."""

    name: str
    reader: ServiceName
    owner: ServiceName


RIDER_PROFILE = Lookup("rider_profile", PRICING, NOTIFICATION)
LOOKUPS = (RIDER_PROFILE,)


def receivers_from(service: str) -> frozenset[str]:
    """Return the services that receive messages of ``service``: its partners in flows, and its events' subscribers."""
    providers = {flow.provider for flow in ALL_FLOWS if flow.caller == service}
    callers = {flow.caller for flow in ALL_FLOWS if flow.provider == service}
    return frozenset(providers | callers).union(*(e.subscribers for e in EVENT_TYPES if e.publisher == service))


def callers_of(service: str) -> frozenset[str]:
    """Return who may call internal endpoints of a service: receivers of its messages, readers of its data, tools."""
    readers = {lookup.reader for lookup in LOOKUPS if lookup.owner == service}
    return receivers_from(service) | readers | {OPERATIONS, CONSOLE}
