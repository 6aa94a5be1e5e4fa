"""Subscriptions to confirmed rides: what is configured, refused, declared, drawn and documented."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from prebook.contracts.plan import Coupling
from prebook.contracts.ride import Place, VehicleClass
from prebook.contracts.zone import DISPATCH_ZONE_PATTERN, dispatch_zone
from prebook.flows import FLOWS
from prebook.messaging import addresses
from prebook.messaging.codec import decode, encode
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import InvalidPolicies
from prebook.messaging.headers import DISTANCE_BAND_HEADER, FARE_BAND_HEADER, VEHICLE_CLASS_HEADER, ZONE_HEADER
from prebook.messaging.policy import read_policies
from prebook.runtime.paths import couplings_file
from prebook.topology.access import broker_accounts, permissions
from prebook.topology.asyncapi import asyncapi_document
from prebook.topology.check import LiveBroker, differences
from prebook.topology.diagrams import svg_diagram
from prebook.topology.model import plan_topology, suite_topology
from prebook.topology.ride_subscriptions import (
    NO_SUBSCRIPTIONS,
    RideSubscriptions,
    read_ride_subscriptions,
    ride_subscriptions_topology,
)
from prebook.topology.values import Binding, Topology
from tests.topology.ride_examples import TABLES, confirmed_ride, read_tables
from tests.topology.test_asyncapi import SCHEMA


@pytest.fixture
def couplings(tmp_path: Path) -> Path:
    return tmp_path / "couplings.toml"


@pytest.fixture
def subscriptions(couplings: Path) -> RideSubscriptions:
    return read_tables(couplings, TABLES)


def test_nothing_is_subscribed_by_default_and_the_topology_is_as_before() -> None:
    assert read_ride_subscriptions(couplings_file()).queues == {}
    assert ride_subscriptions_topology(NO_SUBSCRIPTIONS) == Topology()
    assert suite_topology({0.2}, subscriptions=read_ride_subscriptions(couplings_file())) == suite_topology({0.2})


def test_subscriptions_are_read_beside_the_policies(couplings: Path, subscriptions: RideSubscriptions) -> None:
    assert read_policies(couplings) == read_policies(couplings_file())
    assert subscriptions.queues == {
        "desk_airport": "prebook.dispatch.airport",
        "desk_west": "prebook.dispatch.west",
        "dispatch": "prebook.dispatch.unroutable",
        "extraordinary_rides": "prebook.extraordinary_rides",
    }


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        ('[desks.a]\nzones = ["52.4,13.2"]\n[desks.b]\nvehicle_classes = ["xl"]', "a and b"),
        ("[desks.a]\n[desks.b]\nvehicle_classes = ['xl']", "a and b"),
        ("[desks.unroutable]", "desks"),
        ("[desks.'a.b']", "desks"),
        ("[desks.a]\nvehicle_classes = ['tank']", "tank"),
        ("[desks.a]\nzones = ['Berlin']", "desks"),
        ("[desks.a]\nzone = ['52.4,13.2']", "zone"),
        ("[extraordinary_rides]", "set min_fare_cents, min_distance_m or both"),
        ("[extraordinary_rides]\nmin_fare_cents = 4999", "4999 is no bound"),
    ],
)
def test_wrong_tables_are_refused_with_the_reason(couplings: Path, tables: str, problem: str) -> None:
    with pytest.raises(InvalidPolicies, match=problem):
        read_tables(couplings, tables)


def test_each_subscriber_may_read_its_queue_and_do_nothing_else(subscriptions: RideSubscriptions) -> None:
    topology = suite_topology({0.2}, subscriptions=subscriptions)
    assert set(subscriptions.queues) <= set(broker_accounts(topology))
    by_user = {permission.user: permission for permission in permissions(topology)}
    for account, queue in subscriptions.queues.items():
        permission = by_user[addresses.broker_user(account)]
        assert (permission.configure, permission.write) == ("^$", "^$")
        assert permission.read == f"^({queue.replace('.', chr(92) + '.')})$"


def test_the_other_accounts_have_the_permissions_that_they_have_without_subscribers(
    subscriptions: RideSubscriptions,
) -> None:
    with_subscribers = permissions(suite_topology({0.2}, subscriptions=subscriptions))
    assert permissions(suite_topology({0.2})) < with_subscribers


def test_only_other_exchanges_publish_to_the_router_and_what_it_cannot_route_is_kept(
    subscriptions: RideSubscriptions,
) -> None:
    topology = ride_subscriptions_topology(subscriptions)
    unroutable = addresses.unroutable(addresses.DISPATCH)
    own = {exchange.name: exchange for exchange in topology.exchanges if exchange.name != addresses.EVENTS}
    assert own.keys().isdisjoint(grant.exchange for grant in topology.grants)
    assert dict(own[addresses.DISPATCH].arguments) == {"alternate-exchange": "prebook.dispatch.unroutable"}
    assert own[addresses.exchange_before(addresses.EXTRAORDINARY_RIDES)].arguments == ()
    assert Binding(addresses.exchange_before(unroutable), "#", unroutable) in topology.bindings
    limits = {policy.name: dict(policy.definition) for policy in topology.policies}
    assert limits["prebook.dispatch.airport"]["overflow"] == "drop-head", "a full desk never refuses a ride"
    assert limits["prebook.dispatch.airport"]["dead-letter-exchange"] == "prebook.dispatch.unroutable"


def bound_queues(topology: Topology, headers: dict[str, str], exchange: str) -> set[str]:
    """Queues to which a headers exchange routes: those of the bindings whose arguments all match."""
    return {
        binding.destination
        for binding in topology.bindings
        if binding.exchange == exchange
        and {name: value for name, value in binding.arguments if name != "x-match"}.items() <= headers.items()
    }


@pytest.mark.parametrize(
    ("ride", "desk"),
    [
        (confirmed_ride(), "west"),
        (confirmed_ride(vehicle_class=VehicleClass.XL), "airport"),
        (confirmed_ride(zone="52.6,13.2"), None),
    ],
)
def test_the_bindings_route_as_the_pure_router(
    subscriptions: RideSubscriptions, ride: Envelope, desk: str | None
) -> None:
    headers = dict(encode(ride).headers)
    assert subscriptions.router.route(headers) == desk
    expected = {addresses.desk_queue(desk)} if desk else set()
    assert bound_queues(ride_subscriptions_topology(subscriptions), headers, addresses.DISPATCH) == expected


@pytest.mark.parametrize(
    ("ride", "passes"),
    [
        (confirmed_ride(cents=4_999, distance_m=29_999), False),
        (confirmed_ride(cents=5_000, distance_m=29_999), True),
        (confirmed_ride(cents=4_999, distance_m=30_000), True),
    ],
)
def test_the_bindings_filter_by_fare_or_distance(
    subscriptions: RideSubscriptions, ride: Envelope, passes: bool
) -> None:
    headers = dict(encode(ride).headers)
    assert subscriptions.extraordinary_rides
    assert subscriptions.extraordinary_rides.passes(headers) is passes
    topology = ride_subscriptions_topology(subscriptions)
    found = bound_queues(topology, headers, addresses.EXTRAORDINARY_RIDES)
    assert found == ({addresses.EXTRAORDINARY_RIDES} if passes else set())


def test_routing_headers_follow_from_the_body_and_survive_a_redelivery() -> None:
    first = encode(confirmed_ride())
    described = (VEHICLE_CLASS_HEADER, ZONE_HEADER, FARE_BAND_HEADER, DISTANCE_BAND_HEADER)
    assert [first.headers[name] for name in described] == ["comfort", "52.4,13.2", "2", "3"]
    forged = replace(first, headers={**first.headers, VEHICLE_CLASS_HEADER: "xl"})
    again = encode(decode(forged).next_attempt())
    assert [again.headers[name] for name in described] == [first.headers[name] for name in described]


@pytest.mark.parametrize(
    ("lat", "lon", "zone"),
    [
        (52.52, 13.41, "52.5,13.4"),
        (52.5, 13.4, "52.5,13.4"),
        (-0.01, 0.01, "-0.1,0.0"),
        (-33.87, 151.21, "-33.9,151.2"),
        (90.0, 10.0, "90.0,0.0"),
        (0.0, 180.0, "0.0,-180.0"),
    ],
)
def test_a_zone_is_named_by_its_south_west_corner(lat: float, lon: float, zone: str) -> None:
    place = Place(lat=lat, lon=lon)
    assert dispatch_zone(place) == zone
    jsonschema.validate(dispatch_zone(place), {"type": "string", "pattern": DISPATCH_ZONE_PATTERN})


def test_subscribers_are_drawn_beside_the_archive(subscriptions: RideSubscriptions) -> None:
    plan = dict.fromkeys(FLOWS, Coupling.ONE_WAY)
    drawing = svg_diagram(plan_topology(plan, subscriptions=subscriptions), title="T", subtitle="S")
    for text in (*subscriptions.queues.values(), "comfort, standard; 2 zones", "no desk"):
        assert f">{text}<" in drawing


def test_the_document_has_a_channel_for_each_subscriber(subscriptions: RideSubscriptions) -> None:
    document = json.loads(json.dumps(asyncapi_document(suite_topology({0.2}, subscriptions=subscriptions))))
    assert not list(jsonschema.Draft7Validator(SCHEMA).iter_errors(document))
    for queue in subscriptions.queues.values():
        (channel,) = (each for each in document["channels"].values() if each["address"] == queue)
        assert list(channel["messages"]) == ["prebook.booking_confirmed.v1"]
    jsonschema.validate(dict(encode(confirmed_ride()).headers), document["components"]["schemas"]["Headers"])


def test_a_missing_and_a_removed_desk_are_differences(subscriptions: RideSubscriptions) -> None:
    without, with_desks = suite_topology({0.2}), suite_topology({0.2}, subscriptions=subscriptions)
    live = LiveBroker(exchanges=with_desks.exchanges, queues=with_desks.queues, bindings=with_desks.bindings)
    unexpected = {(each.kind, each.name) for each in differences(without, live) if each.drift == "unexpected"}
    assert {("exchange", "prebook.dispatch"), ("queue", "prebook.dispatch.airport")} <= unexpected
    live = LiveBroker(exchanges=without.exchanges, queues=without.queues, bindings=without.bindings)
    missing = {(each.kind, each.name) for each in differences(with_desks, live) if each.drift == "missing"}
    assert {("exchange", "prebook.dispatch"), ("queue", "prebook.dispatch.airport")} <= missing
