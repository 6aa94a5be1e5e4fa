"""Content-based routers and message filters on the broker: headers exchanges between an exchange and queues.

No process takes part: the sender describes its messages by headers (``messaging.routing_headers``), and the broker
compares them. Source: EIP, Content-Based Router and Message Filter; RabbitMQ, "Headers Exchange" and "Alternate
Exchanges".
"""

from collections.abc import Mapping
from dataclasses import dataclass

from prebook.messaging import addresses
from prebook.messaging.addresses import ExchangeName, QueueName
from prebook.patterns.content_based_router import ContentBasedRouter, Route
from prebook.patterns.message_filter import MessageFilter
from prebook.topology.values import Binding, Exchange, Queue, Topology, arguments


@dataclass(frozen=True)
class Inlet:
    """Exchange and routing key of the messages to be routed."""

    exchange: ExchangeName
    routing_key: str


def router_topology(exchange: ExchangeName, router: ContentBasedRouter, inlet: Inlet) -> Topology:
    """Return a router whose routes end in the queues ``<exchange>.<route>``.

    Unroutable messages are kept in the queue ``<exchange>.unroutable``.
    """
    unroutable = addresses.unroutable(exchange)
    topology = _headers_exchange(exchange, inlet, alternate_exchange=unroutable) | Topology(
        exchanges=frozenset({Exchange(addresses.exchange_before(unroutable))}),
        queues=frozenset({Queue(unroutable)}),
        bindings=frozenset({Binding(addresses.exchange_before(unroutable), "#", unroutable)}),
    )
    for route in router.routes:
        topology |= route_topology(exchange, route)
    return topology


def route_topology(exchange: ExchangeName, route: Route) -> Topology:
    """Return a route's queue, with a binding for each combination of values that the route takes."""
    queue = QueueName(f"{exchange}.{route.name}")
    return Topology(
        queues=frozenset({Queue(queue)}),
        bindings=frozenset(_header_binding(exchange, queue, values) for values in route.combinations()),
    )


def filter_topology(
    queue: QueueName, message_filter: MessageFilter, inlet: Inlet, *, alternate_exchange: str = ""
) -> Topology:
    """Return a filter whose exchange has the name of its queue.

    ``alternate_exchange`` gets the messages that do not pass; without one, the broker drops them.
    """
    exchange = addresses.exchange_before(queue)
    return _headers_exchange(exchange, inlet, alternate_exchange=alternate_exchange) | Topology(
        queues=frozenset({Queue(queue)}),
        bindings=frozenset(
            _header_binding(exchange, queue, {name: value}) for name, value in message_filter.criteria()
        ),
    )


def _headers_exchange(exchange: ExchangeName, inlet: Inlet, *, alternate_exchange: str = "") -> Topology:
    alternate = arguments(alternate_exchange=alternate_exchange) if alternate_exchange else ()
    router = Exchange(exchange, "headers", arguments=alternate)
    return Topology(
        exchanges=frozenset({Exchange(inlet.exchange), router}),
        bindings=frozenset({Binding(inlet.exchange, inlet.routing_key, exchange, to_exchange=True)}),
    )


def _header_binding(exchange: ExchangeName, queue: QueueName, values: Mapping[str, str]) -> Binding:
    return Binding(exchange, "", queue, tuple(sorted({"x-match": "all", **values}.items())))
