"""Check of the sender of a received message: whether its account may send messages of this kind and flow this way.

The broker restricts who publishes where and proves the account (property ``user_id``); what a message is, only its
headers say. Source: RabbitMQ, "Validated User-ID".
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from prebook.messaging import addresses
from prebook.messaging.codec import EXPECTED_BODY_TYPES
from prebook.messaging.errors import ForbiddenSender
from prebook.messaging.headers import FLOW_HEADER, KIND_HEADER
from prebook.topology.values import MessageGrant, Topology


class MessageOrigin(NamedTuple):
    """Origin of a message at its queue, in the words of the broker and not of the message."""

    exchange: str
    routing_key: str
    user: str
    """Broker user that published the message; empty if the message does not name it."""


SenderCheck = Callable[[str, MessageOrigin, Mapping[str, str]], None]
"""Takes a queue's address, a message's origin and its headers. Raises ForbiddenSender."""


def sender_check(topology: Topology) -> SenderCheck:
    """Return the check of received messages against the message grants of ``topology``.

    Headers of no known kind and flow pass if the account may send anything this way: decoding says what is wrong.
    """
    return _check_against(topology.message_grants)


def dead_letter_sender_check(topology: Topology) -> SenderCheck:
    """Return the check of what the broker itself has dead-lettered, before any consumer could check it.

    Such a message arrives by the exchange of dead letters, with its queue as routing key and its sender as user. That
    of a queue outside the model is accepted: no service reads the queue, and no replay leads to it.
    """
    queues = {grant.queue for grant in topology.message_grants}
    check_known = _check_against(
        replace(grant, exchange=addresses.PARKING, routing_key=grant.queue) for grant in topology.message_grants
    )

    def check(queue: str, origin: MessageOrigin, headers: Mapping[str, str]) -> None:
        if queue in queues:
            check_known(queue, origin, headers)

    return check


def _check_against(grants: Iterable[MessageGrant]) -> SenderCheck:
    allowed: dict[tuple[str, MessageOrigin], set[tuple[str, str]]] = defaultdict(set)
    for grant in grants:
        origin = MessageOrigin(grant.exchange, grant.routing_key, addresses.broker_user(grant.account))
        allowed[grant.queue, origin].add((grant.kind, grant.flow))

    def check(queue: str, origin: MessageOrigin, headers: Mapping[str, str]) -> None:
        kind = headers.get(KIND_HEADER, "")
        flow = headers.get(FLOW_HEADER, "")
        allowed_here = allowed.get((queue, origin), set())
        if (kind, flow) in allowed_here or (allowed_here and (kind, flow) not in EXPECTED_BODY_TYPES):
            return
        sent = f"the {kind} of {flow!r}" if (kind, flow) in EXPECTED_BODY_TYPES else "messages"
        way = f"by {origin.exchange or 'the default exchange'} with key {origin.routing_key!r}"
        raise ForbiddenSender(f"{origin.user or 'a message without user_id'} may not send {sent} {way} to {queue}")

    return check


def accept_any_sender(_: str, __: MessageOrigin, ___: Mapping[str, str]) -> None:
    """Accept every message: for queues outside the model, such as those of an experiment."""
