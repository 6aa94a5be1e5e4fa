"""Permissions of every service for every exchange, routing key and queue of the model."""

import re

import pytest

from prebook.flows import ALL_FLOWS, EVENT_TYPES, OPERATIONS, SERVICES
from prebook.messaging import addresses
from prebook.topology.access import (
    ACCOUNTS,
    OBSERVER_TOPOLOGY,
    Permission,
    broker_accounts,
    permissions,
    topic_permissions,
    user_tags,
)
from prebook.topology.model import suite_topology

SUITE = suite_topology({0.2, 1.0})
PERMISSIONS = {p.user: p for p in permissions(SUITE)}
TOPICS = {(t.user, t.exchange): t for t in topic_permissions(SUITE)}
KEYS = sorted(
    {g.routing_key for g in SUITE.grants} | {"#", "", "amq.default", "request.quote_fareX", "Xevent.booking_ended"}
)
EXCHANGES = sorted({x.name for x in SUITE.exchanges} | {"amq.default", "amq.topic", "prebookXevents"})
QUEUES = sorted(q.name for q in SUITE.queues)


def may_publish(service: str, exchange: str, key: str) -> bool:
    """Decide as the broker does: by the exchange, and for a topic exchange also by the routing key."""
    user = addresses.broker_user(service)
    topic = TOPICS.get((user, exchange))
    return _matches(PERMISSIONS[user].write, exchange) and (topic is None or _matches(topic.write, key))


def intended(service: str) -> set[tuple[str, str]]:
    """Intended permissions, derived from the flows independently of the model."""
    requests = {(addresses.REQUESTS, f.name) for f in ALL_FLOWS if f.caller == service}
    one_way_requests = {
        (addresses.EVENTS, addresses.request_routing_key(f.name)) for f in ALL_FLOWS if f.caller == service
    }
    replies = {(addresses.REPLIES, f"{f.caller}.{f.name}") for f in ALL_FLOWS if f.provider == service}
    one_way_replies = {
        (addresses.EVENTS, addresses.reply_routing_key(f.name)) for f in ALL_FLOWS if f.provider == service
    }
    events = {(addresses.EVENTS, addresses.event_routing_key(a.name)) for a in EVENT_TYPES if a.publisher == service}
    retries = {
        (exchange, queue.address)
        for exchange in (addresses.PARKING, addresses.delay_queue(0.2), addresses.delay_queue(1.0))
        for queue in SUITE.consumed_queues()
        if queue.name.startswith(f"{service}.")
    }
    invalid = {(addresses.PARKING, addresses.PARTNER_REPLIES)} if service == "fleets" else set()
    return requests | one_way_requests | replies | one_way_replies | events | retries | invalid


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_may_publish_what_its_flows_need_and_nothing_else(service: str) -> None:
    allowed = {(exchange, key) for exchange in EXCHANGES for key in KEYS if may_publish(service, exchange, key)}
    assert allowed == intended(service)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_may_read_its_own_queues_only(service: str) -> None:
    readable = {queue for queue in QUEUES if _matches(PERMISSIONS[addresses.broker_user(service)].read, queue)}
    assert readable == {queue for queue in QUEUES if queue.startswith(f"{service}.")}


def test_operations_may_republish_any_message_and_return_it_to_any_queue() -> None:
    allowed = {(exchange, key) for exchange in EXCHANGES for key in KEYS if may_publish(OPERATIONS, exchange, key)}
    message_exchanges = {addresses.REQUESTS, addresses.REPLIES, addresses.EVENTS}
    published = {
        (exchange, key) for service in SERVICES for exchange, key in intended(service) if exchange in message_exchanges
    }
    consumed = {q.address for q in SUITE.logical_queues() if q.consumer in SERVICES}
    tests = {(addresses.delay_queue(delay_s), addresses.TEST_MESSAGE) for delay_s in (0.2, 1.0)}
    assert allowed == published | tests | {(addresses.REDELIVER, queue) for queue in consumed}
    readable = {queue for queue in QUEUES if _matches(PERMISSIONS[addresses.broker_user(OPERATIONS)].read, queue)}
    assert readable == {addresses.PARKING_QUEUE}


def test_the_archive_reader_may_only_read_the_archive_and_publish_to_queues() -> None:
    archive_reader = PERMISSIONS[addresses.broker_user(addresses.ARCHIVE_READER)]
    assert {queue for queue in QUEUES if _matches(archive_reader.read, queue)} == {addresses.ARCHIVE_QUEUE}
    assert {exchange for exchange in EXCHANGES if _matches(archive_reader.write, exchange)} == {addresses.REDELIVER}
    assert may_publish(addresses.ARCHIVE_READER, addresses.REDELIVER, "a.queue.that.the.model.does.not.know")


def test_no_account_may_declare_anything_or_bind_to_a_topic() -> None:
    names = [*QUEUES, *EXCHANGES, *KEYS]
    assert not [n for p in PERMISSIONS.values() for n in names if n and _matches(p.configure, n)]
    assert not [n for t in TOPICS.values() for n in names if n and _matches(t.read, n)]


def test_every_service_has_a_user_and_every_writable_exchange_a_topic_permission() -> None:
    assert set(broker_accounts(SUITE)) == set(ACCOUNTS)
    writable = {(u, x) for u, p in PERMISSIONS.items() for x in EXCHANGES if _matches(p.write, x)}
    assert writable == TOPICS.keys()


def _matches(pattern: str, name: str) -> bool:
    return re.search(pattern, name) is not None


def test_no_grant_names_an_exchange_that_other_exchanges_feed() -> None:
    """Permissions keep services from publishing past the hash slots; the broker's own mark would say the same."""
    fed = {binding.destination for binding in SUITE.bindings if binding.to_exchange} | {
        str(value) for exchange in SUITE.exchanges for name, value in exchange.arguments if name == "alternate-exchange"
    }
    assert len(fed) >= 6
    assert fed.isdisjoint(grant.exchange for grant in SUITE.grants)
    assert [p.user for p in PERMISSIONS.values() for name in fed if _matches(p.write, name)] == []


def test_no_exchange_is_internal() -> None:
    """RabbitMQ's Messaging Topology Operator cannot declare an internal exchange."""
    assert [exchange.name for exchange in SUITE.exchanges if exchange.internal] == []


def test_an_observer_may_use_no_queue_and_has_the_tag_of_the_management_api() -> None:
    """The management API refuses the virtual host to a user without a permission."""
    observed = SUITE | OBSERVER_TOPOLOGY
    user = addresses.broker_user(addresses.OBSERVER)
    assert permissions(observed) - permissions(SUITE) == {Permission(user, "^$", "^$")}
    assert topic_permissions(observed) == topic_permissions(SUITE)
    assert user_tags(observed) == {addresses.broker_user(a): "" for a in ACCOUNTS} | {user: "management"}
