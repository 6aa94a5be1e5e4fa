"""Subscriptions to confirmed rides: dispatch desks by vehicle class and zone, and extraordinary rides.

They are optional tables of couplings.toml. Without them the broker has no queue of this kind, and a ride no extra cost.
Each subscriber has an account of its own that may read its queue, and nothing else. A full queue drops its oldest rides
(a desk's move to the unroutable ones) instead of refusing new ones, which would stop the confirmation of rides.
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec

from prebook.contracts.ride import VehicleClass
from prebook.contracts.zone import DISPATCH_ZONE_PATTERN
from prebook.flows import BOOKING_CONFIRMED
from prebook.messaging import addresses
from prebook.messaging.addresses import QueueName
from prebook.messaging.errors import InvalidPolicies
from prebook.messaging.headers import DISTANCE_BAND_HEADER, FARE_BAND_HEADER, VEHICLE_CLASS_HEADER, ZONE_HEADER
from prebook.messaging.recoverability.dead_letter import DELIVERY_LIMIT
from prebook.messaging.routing_headers import DISTANCE_BOUNDS_M, FARE_BOUNDS_CENTS
from prebook.patterns.content_based_router import ContentBasedRouter, OverlappingRoutes, Route
from prebook.patterns.message_filter import MessageFilter, Threshold
from prebook.text_file import read_text
from prebook.topology.content_based_routing import Inlet, filter_topology, router_topology
from prebook.topology.external_edges import DISPATCH, Contact, ExternalEdge
from prebook.topology.retry_and_dead_letter import MAX_QUEUE_LENGTH, UNLIMITED_DELIVERIES, exact_match
from prebook.topology.values import Arguments, Arrow, Leg, Policy, ReadGrant, Topology, arguments

DeskName = Annotated[str, msgspec.Meta(pattern=r"^(?!unroutable$)[a-z][a-z0-9_]{0,31}$")]
CONFIRMED_RIDES = Inlet(addresses.EVENTS, addresses.event_routing_key(BOOKING_CONFIRMED.name))
UNROUTABLE_MAX_AGE_MS = 7 * 24 * 3600 * 1000
"""Time for which unroutable rides are kept: as long as the archive keeps them."""
MAX_DESKS = 50


class Desk(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Table ``desks.<name>``. A field's description is its meaning in docs/reference/settings.md."""

    vehicle_classes: Annotated[
        tuple[VehicleClass, ...], msgspec.Meta(description="vehicle classes of the desk's rides; all if omitted")
    ] = ()
    zones: Annotated[
        tuple[Annotated[str, msgspec.Meta(pattern=DISPATCH_ZONE_PATTERN)], ...],
        msgspec.Meta(
            max_length=100,
            description="zones of the desk's pickups: latitude and longitude of the south-west corner of a cell of a "
            'tenth of a degree, as in "52.5,13.4"; all if omitted',
        ),
    ] = ()


class ExtraordinaryRides(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Table ``extraordinary_rides``. A field's description is its meaning in docs/reference/settings.md."""

    min_fare_cents: Annotated[
        int | None, msgspec.Meta(description=f"lowest fare; one of {', '.join(map(str, FARE_BOUNDS_CENTS))}")
    ] = None
    min_distance_m: Annotated[
        int | None,
        msgspec.Meta(description=f"shortest distance in metres; one of {', '.join(map(str, DISTANCE_BOUNDS_M))}"),
    ] = None


@dataclass(frozen=True)
class RideSubscriptions:
    """All subscriptions to confirmed rides; none by default."""

    router: ContentBasedRouter = field(default_factory=lambda: ContentBasedRouter(()))
    """Its routes are the dispatch desks."""
    extraordinary_rides: MessageFilter | None = None

    @property
    def queues(self) -> dict[str, QueueName]:
        """Queue of each subscriber, by its account."""
        desks = {f"desk_{route.name}": addresses.desk_queue(route.name) for route in self.router.routes}
        if desks:
            desks["dispatch"] = addresses.unroutable(addresses.DISPATCH)
        if self.extraordinary_rides:
            desks["extraordinary_rides"] = addresses.EXTRAORDINARY_RIDES
        return desks


NO_SUBSCRIPTIONS = RideSubscriptions()


class _SubscriptionTables(msgspec.Struct):
    """The tables of couplings.toml that concern subscriptions; ``messaging.policy`` reads the others."""

    desks: Annotated[dict[DeskName, Desk], msgspec.Meta(max_length=MAX_DESKS)] = {}
    extraordinary_rides: ExtraordinaryRides | None = None


def read_ride_subscriptions(path: Path) -> RideSubscriptions:
    """Read the subscriptions from a couplings.toml. Raises InvalidPolicies, also if two desks overlap."""
    try:
        tables = msgspec.convert(tomllib.loads(read_text(path)), _SubscriptionTables)
        router = ContentBasedRouter([_route(name, desk) for name, desk in tables.desks.items()])
        return RideSubscriptions(router, _filter(tables.extraordinary_rides))
    except OverlappingRoutes as error:
        raise InvalidPolicies(f"{path}: desks: {error}; give them other vehicle classes or zones") from error
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as error:
        raise InvalidPolicies(f"{path}: {error}") from error
    except ValueError as error:
        raise InvalidPolicies(f"{path}: extraordinary_rides: {error}") from error


def ride_subscription_edges(subscriptions: RideSubscriptions) -> tuple[ExternalEdge, ...]:
    """Return an edge for each subscriber, who reads the event as it is."""
    return tuple(
        ExternalEdge(name=queue, near=account, party=DISPATCH, contact=Contact.PULLS, trigger=BOOKING_CONFIRMED)
        for account, queue in subscriptions.queues.items()
    )


def ride_subscriptions_topology(subscriptions: RideSubscriptions) -> Topology:
    """Return the exchanges, queues, limits and accounts of the subscriptions; empty without one."""
    topology = Topology(
        policies=frozenset(_policies(subscriptions)),
        read_grants=frozenset(ReadGrant(account, queue) for account, queue in subscriptions.queues.items()),
        arrows=frozenset(_arrows(subscriptions)),
    )
    if subscriptions.router.routes:
        topology |= router_topology(addresses.DISPATCH, subscriptions.router, CONFIRMED_RIDES)
    if subscriptions.extraordinary_rides:
        topology |= filter_topology(addresses.EXTRAORDINARY_RIDES, subscriptions.extraordinary_rides, CONFIRMED_RIDES)
    return topology


def _route(name: str, desk: Desk) -> Route:
    criteria: dict[str, frozenset[str]] = {}
    if desk.vehicle_classes:
        criteria[VEHICLE_CLASS_HEADER] = frozenset(map(str, desk.vehicle_classes))
    if desk.zones:
        criteria[ZONE_HEADER] = frozenset(desk.zones)
    return Route(name, criteria)


def _filter(table: ExtraordinaryRides | None) -> MessageFilter | None:
    if table is None:
        return None
    thresholds = []
    if table.min_fare_cents is not None:
        thresholds.append(Threshold(FARE_BAND_HEADER, table.min_fare_cents, FARE_BOUNDS_CENTS))
    if table.min_distance_m is not None:
        thresholds.append(Threshold(DISTANCE_BAND_HEADER, table.min_distance_m, DISTANCE_BOUNDS_M))
    if not thresholds:
        raise ValueError("set min_fare_cents, min_distance_m or both")
    return MessageFilter(tuple(thresholds))


def _policies(subscriptions: RideSubscriptions) -> Iterator[Policy]:
    unroutable = addresses.unroutable(addresses.DISPATCH)
    limits: dict[str, Any] = {"delivery_limit": DELIVERY_LIMIT, "max_length": MAX_QUEUE_LENGTH, "overflow": "drop-head"}
    for queue in subscriptions.queues.values():
        if queue == unroutable:
            kept = arguments(delivery_limit=UNLIMITED_DELIVERIES, message_ttl=UNROUTABLE_MAX_AGE_MS)
            yield _policy(queue, kept)
        elif queue == addresses.EXTRAORDINARY_RIDES:
            yield _policy(queue, arguments(**limits))
        else:
            yield _policy(queue, arguments(**limits, dead_letter_exchange=unroutable))


def _policy(queue: str, definition: Arguments) -> Policy:
    return Policy(queue, exact_match(queue), definition)


def _arrows(subscriptions: RideSubscriptions) -> Iterator[Arrow]:
    """Continue the arrow of the event: each subscriber pulls from its queue, outside the diagram."""
    unroutable = addresses.unroutable(addresses.DISPATCH)
    labels = {addresses.desk_queue(route.name): _route_label(route) for route in subscriptions.router.routes}
    labels |= {unroutable: "no desk", addresses.EXTRAORDINARY_RIDES: "fare, distance"}
    for queue in subscriptions.queues.values():
        yield Arrow(BOOKING_CONFIRMED.name, Leg.EVENT, 1, addresses.EVENTS, queue, labels[queue], pulled=False)


def _route_label(route: Route) -> str:
    """Describe the criteria of a desk in a few words."""
    classes = ", ".join(sorted(route.criteria.get(VEHICLE_CLASS_HEADER, ())))
    zones = len(route.criteria.get(ZONE_HEADER, ()))
    parts = [classes, f"{zones} zone{'s' if zones > 1 else ''}" if zones else ""]
    return "; ".join(filter(None, parts)) or "all"
