"""Experiment: Content-Based Router. Source: EIP, Content-Based Router."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import msgspec

from prebook.contracts.ride import VehicleClass
from prebook.flows import BOOKING_CONFIRMED
from prebook.lab.experiments.drawing import message_path
from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.patterns import receiver
from prebook.lab.experiments.patterns.confirmed_rides import confirmed_rides, ride_message
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.experiments.patterns.site import RECEIVER_SERVICES, PatternSite, message_names
from prebook.lab.experiments.patterns.size import PATTERN_OPTIONS, QUICK, PatternSize
from prebook.messaging import addresses
from prebook.messaging.addresses import ExchangeName
from prebook.messaging.codec import WireMessage
from prebook.messaging.headers import CONVERSATION_ID_HEADER, VEHICLE_CLASS_HEADER, ZONE_HEADER
from prebook.patterns.content_based_router import ContentBasedRouter, Route
from prebook.topology.content_based_routing import Inlet, route_topology, router_topology
from prebook.topology.model import union
from prebook.topology.ride_subscriptions import (
    CONFIRMED_RIDES,
    RideSubscriptions,
    ride_subscriptions_topology,
)
from prebook.topology.values import Topology

RIGHT = "disjoint desks, checked when they are declared"
WRONG = "overlapping predicates"
SOUTH_WEST = Route(
    "south_west",
    {
        VEHICLE_CLASS_HEADER: frozenset({VehicleClass.STANDARD.value, VehicleClass.COMFORT.value}),
        ZONE_HEADER: frozenset({"52.4,13.2", "52.4,13.3", "52.5,13.2", "52.5,13.3"}),
    },
)
LARGE = Route("large", {VEHICLE_CLASS_HEADER: frozenset({VehicleClass.XL.value})})
ALL_OF_THE_ZONE = Route("large", {ZONE_HEADER: SOUTH_WEST.criteria[ZONE_HEADER]})
"""Desk of the wrong way, which takes rides of the south-west too."""
UNROUTABLE = "unroutable"
SERVICES = dict(zip((SOUTH_WEST.name, LARGE.name, UNROUTABLE), RECEIVER_SERVICES, strict=True))
"""Service that receives the messages of each route, and the unroutable ones."""
OVERLAPPING = ExchangeName("lab.router")
OVERLAPPING_INLET = Inlet(ExchangeName("lab.router.events"), CONFIRMED_RIDES.routing_key)
ARRANGEMENTS = {
    RIGHT: (addresses.DISPATCH, CONFIRMED_RIDES, (SOUTH_WEST, LARGE)),
    WRONG: (OVERLAPPING, OVERLAPPING_INLET, (SOUTH_WEST, ALL_OF_THE_ZONE)),
}
"""Exchange, inlet and routes of each arrangement."""
CONSERVED = "messages on all routes + unroutable = messages sent"
ONE_ROUTE = "messages on two routes = 0"
AS_DECIDED = "messages on another route than the pure router's = 0"
Received = Mapping[str, frozenset[str]]
"""Route, or UNROUTABLE -> messages that arrived there."""


async def measure(run: ExperimentRun, size: PatternSize) -> Measurement:
    """Route confirmed rides to two desks, one of which is killed and restarted; then by overlapping predicates."""
    names = message_names(size.messages)
    async with PatternSite.open(run) as site:
        rides = confirmed_rides(names, run.seed)
        messages = {
            arrangement: [ride_message(ride, arrangement, site.token) for ride in rides.values()]
            for arrangement in (RIGHT, WRONG)
        }
        run.log(RIGHT)
        disjoint = await _route(site, RIGHT, messages[RIGHT], size.defect)
        run.log(WRONG)
        overlapping = await _route(site, WRONG, messages[WRONG], SeededDefect.NONE)
    return Measurement(
        checks=[
            *route_checks(RIGHT, len(names), disjoint, LawVerdict.HELD),
            decision_check(messages[RIGHT], disjoint),
            *route_checks(WRONG, len(names), overlapping, LawVerdict.VIOLATED),
        ],
        tables=[_table(len(names), {RIGHT: disjoint, WRONG: overlapping})],
    )


def route_checks(arrangement: str, sent: int, received: Received, expected: LawVerdict) -> list[LawCheck]:
    """Return the checks that every message is on one route or unroutable, and none on two."""
    total = sum(map(len, received.values()))
    repeated = total - len(frozenset().union(*received.values()))
    return [
        check_law(CONSERVED, arrangement, ("received", total), Relation.EQUAL, ("sent", sent), expected=expected),
        check_law(ONE_ROUTE, arrangement, ("on two", repeated), Relation.EQUAL, ("", 0), expected=expected),
    ]


def decision_check(messages: list[WireMessage], received: Received) -> LawCheck:
    """Return the check that the broker has decided as the pure router does."""
    router = ContentBasedRouter([SOUTH_WEST, LARGE])
    decided = {each.headers[CONVERSATION_ID_HEADER]: router.route(each.headers) or UNROUTABLE for each in messages}
    differing = sum(decided[name] != route for route, names in received.items() for name in names)
    return check_law(AS_DECIDED, RIGHT, ("differing", differing), Relation.EQUAL, ("", 0))


async def _route(site: PatternSite, arrangement: str, messages: list[WireMessage], defect: SeededDefect) -> Received:
    """Publish the messages while the desk of the south-west is killed; restart it, and wait until none is left."""
    exchange, inlet, routes = ARRANGEMENTS[arrangement]
    at_routes = expected_messages(routes, messages)
    specs = {
        route: site.receiver_spec(
            arrangement,
            f"{exchange}.{route}",
            service=service,
            receiver=route,
            defect=defect,
            defective_message=site.random.choice(sorted(at_routes[route])),
        )
        for route, service in SERVICES.items()
    }
    victim = msgspec.structs.replace(specs.pop(SOUTH_WEST.name), defect=SeededDefect.NONE)
    specs[UNROUTABLE] = msgspec.structs.replace(specs[UNROUTABLE], defect=SeededDefect.NONE)
    expected = [(route, name) for route, names in at_routes.items() for name in names]
    async with site.receivers(*specs.values()):
        async with site.receivers(victim) as (process,):
            await site.publish_encoded(inlet.exchange, inlet.routing_key, messages)
            share = site.random.uniform(0.2, 0.5)
            await site.wait_for_effects(arrangement, at_routes[SOUTH_WEST.name], share, victim.receiver)
            process.kill()
            process.join()
        async with site.receivers(victim):
            await site.wait_until_drained(arrangement, expected, [f"{exchange}.{route}" for route in SERVICES])
    effects = await site.read_effects(arrangement)
    return {route: frozenset(each.message for each in effects if each.receiver == route) for route in SERVICES}


def expected_messages(routes: Sequence[Route], messages: Iterable[WireMessage]) -> Received:
    """Return the messages that each route takes, and those that none takes, by the predicates of the routes."""
    found: dict[str, set[str]] = {name: set() for name in SERVICES}
    for message in messages:
        taking = [route.name for route in routes if route.takes(message.headers)]
        for name in taking or [UNROUTABLE]:
            found[name].add(message.headers[CONVERSATION_ID_HEADER])
    return {name: frozenset(own) for name, own in found.items()}


def _table(sent: int, received: Mapping[str, Received]) -> ResultTable:
    def cells(own: Received) -> Iterable[int]:
        on_two_routes = sum(map(len, own.values())) - len(frozenset().union(*own.values()))
        return (sent, *(len(own[route]) for route in SERVICES), on_two_routes)

    return ResultTable.by_arrangement(
        "Confirmed rides at two dispatch desks",
        ("arrangement", "sent", *(name.replace("_", " ") for name in SERVICES), "on two routes"),
        received,
        cells,
        "the desk of the south-west is killed midway and restarted",
    )


def _topology() -> Topology:
    subscriptions = RideSubscriptions(ContentBasedRouter([SOUTH_WEST, LARGE]))
    right = replace(ride_subscriptions_topology(subscriptions), read_grants=frozenset(), arrows=frozenset())
    wrong = router_topology(OVERLAPPING, ContentBasedRouter([SOUTH_WEST]), OVERLAPPING_INLET)
    paths = (
        message_path(arrangement, BOOKING_CONFIRMED.publisher, exchange, f"{exchange}.{route}", service)
        for arrangement, exchange in ((RIGHT, addresses.DISPATCH), (WRONG, OVERLAPPING))
        for route, service in SERVICES.items()
    )
    return union([right, wrong, route_topology(OVERLAPPING, ALL_OF_THE_ZONE), *paths])


CONTENT_BASED_ROUTER = Experiment(
    name="content-based-router",
    section=Section.PATTERNS,
    claims=("D1",),
    pattern="Content-Based Router (EIP)",
    code="shared/prebook/patterns/content_based_router.py",
    claim="Routes whose predicates are disjoint take each message once, and what no route takes is kept.",
    varies="whether the predicates of the routes overlap; one receiver is killed and restarted",
    law=f"{CONSERVED}; {ONE_ROUTE}; {AS_DECIDED}",
    wrong_way="the predicates overlap, so some rides go to two desks",
    expected="With disjoint desks each ride is at one desk or unroutable; with overlapping ones some are at two.",
    full=PatternSize(),
    quick=QUICK,
    options=PATTERN_OPTIONS,
    measure=measure,
    topology=_topology(),
    worker_modules=(receiver.__name__,),
)
