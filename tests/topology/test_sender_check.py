"""Check of senders: every combination of queue, address, account, kind and flow."""

from collections.abc import Iterator
from itertools import product

import pytest

from prebook.flows import ALL_FLOWS, EVENT_TYPES, OPERATIONS
from prebook.messaging import addresses
from prebook.messaging.codec import EXPECTED_BODY_TYPES
from prebook.messaging.envelope import MessageKind
from prebook.messaging.errors import ForbiddenSender
from prebook.messaging.headers import FLOW_HEADER, KIND_HEADER
from prebook.topology.access import ACCOUNTS
from prebook.topology.model import suite_topology
from prebook.topology.sender_check import MessageOrigin, sender_check

SUITE = suite_topology({0.2})
CHECK = sender_check(SUITE)
QUEUES = sorted(queue.address for queue in SUITE.logical_queues() if queue.consumer != OPERATIONS)
WAYS = sorted({(b.exchange, b.routing_key) for b in SUITE.bindings} | {("", queue) for queue in QUEUES})
USERS = ("", "guest", "prebook_admin", *map(addresses.broker_user, ACCOUNTS))
Declared = tuple[str, MessageOrigin, str, str]


def first_sendings() -> Iterator[tuple[str, str, str, str, MessageKind, str]]:
    """Yield queue, exchange, routing key, account, kind and flow of every message, by the catalogue of flows alone."""
    for flow in ALL_FLOWS:
        request = (flow.caller, MessageKind.REQUEST, flow.name)
        reply = (flow.provider, MessageKind.REPLY, flow.name)
        yield addresses.request_queue(flow.provider, flow.name), addresses.REQUESTS, flow.name, *request
        yield addresses.reply_queue(flow.caller), addresses.REPLIES, f"{flow.caller}.{flow.name}", *reply
        one_way_requests = addresses.one_way_request_queue(flow.provider, flow.name)
        yield one_way_requests, addresses.EVENTS, addresses.request_routing_key(flow.name), *request
        one_way_replies = addresses.one_way_reply_queue(flow.caller)
        yield one_way_replies, addresses.EVENTS, addresses.reply_routing_key(flow.name), *reply
    for event in EVENT_TYPES:
        for subscriber in event.subscribers:
            key = addresses.event_routing_key(event.name)
            yield (
                addresses.event_queue(subscriber),
                addresses.EVENTS,
                key,
                event.publisher,
                MessageKind.EVENT,
                event.name,
            )


def declared() -> Iterator[Declared]:
    """Yield every combination that must pass: first sendings, replays, retries and replays from the archive."""
    for queue, exchange, routing_key, account, kind, flow in first_sendings():
        for sender in (account, OPERATIONS):
            yield queue, MessageOrigin(exchange, routing_key, addresses.broker_user(sender)), kind, flow
        redelivering = {OPERATIONS, queue.partition(".")[0]}
        if exchange == addresses.EVENTS:
            redelivering.add(addresses.ARCHIVE_READER)
        for sender in redelivering:
            yield queue, MessageOrigin(addresses.REDELIVER, queue, addresses.broker_user(sender)), kind, flow


def passes(queue: str, origin: MessageOrigin, kind: str, flow: str) -> bool:
    try:
        CHECK(queue, origin, {KIND_HEADER: kind, FLOW_HEADER: flow})
    except ForbiddenSender:
        return False
    return True


def test_exactly_the_declared_combinations_pass() -> None:
    passed = {
        (queue, origin, kind, flow)
        for queue, (exchange, key), user, (kind, flow) in product(QUEUES, WAYS, USERS, EXPECTED_BODY_TYPES)
        if passes(queue, origin := MessageOrigin(exchange, key, user), kind, flow)
    }
    assert passed == set(declared())


@pytest.mark.parametrize("headers", [{}, {KIND_HEADER: "request"}, {KIND_HEADER: "rumour", FLOW_HEADER: "quote_fare"}])
def test_headers_of_no_known_message_pass_from_a_sender_of_the_queue_only(headers: dict[str, str]) -> None:
    """Decoding dead-letters them with a cause that says what is wrong."""
    queue = addresses.request_queue("pricing", "quote_fare")
    CHECK(queue, MessageOrigin(addresses.REQUESTS, "quote_fare", "prebook_booking"), headers)
    with pytest.raises(ForbiddenSender):
        CHECK(queue, MessageOrigin(addresses.REQUESTS, "quote_fare", "prebook_fleets"), headers)


def test_the_error_names_account_message_and_way() -> None:
    origin = MessageOrigin(addresses.EVENTS, "reply.notify_rider", "prebook_notification")
    with pytest.raises(
        ForbiddenSender, match=r"prebook_notification may not send the reply of 'quote_fare' by prebook"
    ):
        CHECK("booking.one_way_replies", origin, {KIND_HEADER: "reply", FLOW_HEADER: "quote_fare"})
    with pytest.raises(ForbiddenSender, match="a message without user_id may not"):
        CHECK("booking.one_way_replies", origin._replace(user=""), {})
