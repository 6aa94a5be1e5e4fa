"""Model of the topology, derived from flows and couplings; declared, drawn, checked and documented from one value."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prebook.contracts.plan import Coupling, Plan
from prebook.flows import ALL_FLOWS, ASK_FLEET, EVENT_PARTITIONS, EVENT_TYPES, EventType, Flow
from prebook.messaging import addresses
from prebook.messaging.addresses import QueueName
from prebook.messaging.envelope import MessageKind
from prebook.topology.archive import ARCHIVE_STREAM, DEFAULT_RETENTION, RetentionPolicy, archive_topology
from prebook.topology.partitions import partitioned_topology
from prebook.topology.retry_and_dead_letter import with_retry_and_parking
from prebook.topology.ride_subscriptions import (
    NO_SUBSCRIPTIONS,
    RideSubscriptions,
    ride_subscriptions_topology,
)
from prebook.topology.values import Arrow, Binding, Exchange, Grant, Leg, MessageGrant, Queue, Topology

Flows = Iterable[Flow[Any, Any]]
EventTypes = Iterable[EventType[Any]]


def suite_topology(
    delays_s: Iterable[float],
    flows: Flows = ALL_FLOWS,
    event_types: EventTypes = EVENT_TYPES,
    subscriptions: RideSubscriptions = NO_SUBSCRIPTIONS,
    archive: RetentionPolicy = DEFAULT_RETENTION,
) -> Topology:
    """Return the topology of a running suite: all couplings of all flows. ``delays_s``: seconds of the retry ladder."""
    parts = [plan(flow) for flow in flows for plan in COUPLING_TOPOLOGIES.values()]
    base = union([*parts, *(event_topology(event_type) for event_type in event_types)])
    return union(
        (
            with_retry_and_parking(base, delays_s),
            archive_topology(base, archive),
            ride_subscriptions_topology(subscriptions),
            _partner_replies(flows),
        )
    )


def plan_topology(
    plan: Plan,
    flows: Flows = ALL_FLOWS,
    event_types: EventTypes = EVENT_TYPES,
    subscriptions: RideSubscriptions = NO_SUBSCRIPTIONS,
) -> Topology:
    """Return the part of the topology that one plan uses, for its diagram."""
    parts = [COUPLING_TOPOLOGIES[plan[flow.name]](flow) for flow in flows]
    events = (event_topology(event_type) for event_type in event_types)
    return union([*parts, *events, ride_subscriptions_topology(subscriptions)])


def _partner_replies(flows: Flows) -> Topology:
    """Let fleets park replies of its partners, which come from no queue."""
    is_asked = ASK_FLEET in flows
    return Topology(
        grants=frozenset({Grant(ASK_FLEET.provider, addresses.PARKING, addresses.PARTNER_REPLIES)} if is_asked else ())
    )


def union(parts: Iterable[Topology]) -> Topology:
    """Return the topology that all parts make together."""
    whole = Topology()
    for part in parts:
        whole |= part
    return whole


def event_topology(event_type: EventType[Any]) -> Topology:
    """Route an event to each subscriber and to the archive: a mandatory publish needs at least one queue."""
    key = addresses.event_routing_key(event_type.name)
    name = event_type.name
    grant = Grant(event_type.publisher, addresses.EVENTS, key)
    parts = [_brokered_leg(name, grant, _event_destination(s), Leg.EVENT) for s in sorted(event_type.subscribers)]
    archived = Topology(
        exchanges=frozenset({Exchange(addresses.EVENTS)}),
        queues=frozenset({ARCHIVE_STREAM}),
        bindings=frozenset({Binding(addresses.EVENTS, key, ARCHIVE_STREAM.name)}),
        grants=frozenset({grant}),
        arrows=frozenset(_pushed_arrows(name, Leg.EVENT, (grant.account, grant.exchange, ARCHIVE_STREAM.name), key)),
    )
    return union([*parts, archived])


def _sync_api(flow: Flow[Any, Any]) -> Topology:
    """The reply is in the response, which the caller waits for: it is pulled."""
    return Topology(
        arrows=frozenset({_http_request_arrow(flow, "200"), _http_response_arrow(flow, Leg.REPLY, _reply_names(flow))})
    )


def _async_api(flow: Flow[Any, Any]) -> Topology:
    callback = Arrow(
        flow.name, Leg.REPLY, 0, flow.provider, flow.caller, f"signed callback: {_reply_names(flow)}", False
    )
    poll = _http_response_arrow(flow, Leg.POLL, "GET operation, if the callback is lost")
    return Topology(arrows=frozenset({_http_request_arrow(flow, "202 + Location"), callback, poll}))


def _one_way(flow: Flow[Any, Any]) -> Topology:
    request = Grant(flow.caller, addresses.EVENTS, addresses.request_routing_key(flow.name))
    reply = Grant(flow.provider, addresses.EVENTS, addresses.reply_routing_key(flow.name))
    return union(
        (
            _brokered_leg(flow.name, request, _request_destination(flow, addresses.one_way_request_queue), Leg.REQUEST),
            _brokered_leg(
                flow.name, reply, Destination(addresses.one_way_reply_queue(flow.caller), flow.caller), Leg.REPLY
            ),
        )
    )


def _request_reply(flow: Flow[Any, Any]) -> Topology:
    request = Grant(flow.caller, addresses.REQUESTS, flow.name)
    reply = Grant(flow.provider, addresses.REPLIES, addresses.caller_routing_key(flow.caller, flow.name))
    return union(
        (
            _brokered_leg(flow.name, request, _request_destination(flow, addresses.request_queue), Leg.REQUEST),
            _brokered_leg(flow.name, reply, Destination(addresses.reply_queue(flow.caller), flow.caller), Leg.REPLY),
        )
    )


COUPLING_TOPOLOGIES: Mapping[Coupling, Callable[[Flow[Any, Any]], Topology]] = {
    Coupling.SYNC_API: _sync_api,
    Coupling.ASYNC_API: _async_api,
    Coupling.ONE_WAY: _one_way,
    Coupling.REQUEST_REPLY: _request_reply,
}
"""Topology of a flow by coupling; a new coupling is one line here."""


@dataclass(frozen=True)
class Destination:
    """Destination of messages: a queue of the consumer, or a message group of ``partitions`` queues."""

    address: QueueName
    consumer: str
    partitions: int = 0

    def topology(self) -> Topology:
        """Return the queues, and the exchange and bindings of a message group."""
        if self.partitions:
            return partitioned_topology(self.address, self.partitions, self.consumer)
        return Topology(queues=frozenset({Queue(self.address, consumer=self.consumer)}))


def _event_destination(subscriber: str) -> Destination:
    return Destination(addresses.event_queue(subscriber), subscriber, EVENT_PARTITIONS.get(subscriber, 0))


def _request_destination(flow: Flow[Any, Any], queue_name: Callable[[str, str], QueueName]) -> Destination:
    return Destination(queue_name(flow.provider, flow.name), flow.provider, flow.partitions)


def _brokered_leg(swimlane: str, grant: Grant, destination: Destination, leg: Leg) -> Topology:
    """Leg over the broker: pushed as far as the queue, and pulled from there by the consumer."""
    pushed = _pushed_arrows(swimlane, leg, (grant.account, grant.exchange, destination.address), grant.routing_key)
    return destination.topology() | Topology(
        exchanges=frozenset({Exchange(grant.exchange)}),
        bindings=frozenset(
            {Binding(grant.exchange, grant.routing_key, destination.address, to_exchange=destination.partitions > 0)}
        ),
        grants=frozenset({grant}),
        message_grants=frozenset(
            {
                MessageGrant(
                    destination.address,
                    grant.account,
                    grant.exchange,
                    grant.routing_key,
                    MessageKind(leg.value),
                    swimlane,
                )
            }
        ),
        arrows=frozenset({*pushed, Arrow(swimlane, leg, 2, destination.address, destination.consumer, "", True)}),
    )


def _pushed_arrows(swimlane: str, leg: Leg, path: tuple[str, str, str], routing_key: str) -> list[Arrow]:
    source, exchange, queue = path
    return [
        Arrow(swimlane, leg, 0, source, exchange, routing_key, False),
        Arrow(swimlane, leg, 1, exchange, queue, "", False),
    ]


def _http_request_arrow(flow: Flow[Any, Any], status: str) -> Arrow:
    label = f"POST {flow.request_type.__name__} → {status}"
    return Arrow(flow.name, Leg.REQUEST, 0, flow.caller, flow.provider, label, False)


def _http_response_arrow(flow: Flow[Any, Any], leg: Leg, label: str) -> Arrow:
    return Arrow(flow.name, leg, 0, flow.provider, flow.caller, label, True)


def _reply_names(flow: Flow[Any, Any]) -> str:
    return " | ".join(reply.__name__ for reply in flow.reply_types)
