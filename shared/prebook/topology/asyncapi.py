"""AsyncAPI 3.0 document of the messages on the broker, derived from the topology and the contracts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from prebook.contracts.message import Message
from prebook.contracts.plan import Coupling
from prebook.contracts.ride import VehicleClass
from prebook.flows import EVENT_TYPES, FLOWS, SERVICES
from prebook.messaging import addresses
from prebook.messaging.body_codec import VERSION_TYPES, ce_type, ce_types
from prebook.messaging.codec import SAFE_ID
from prebook.messaging.envelope import MessageKind
from prebook.messaging.headers import (
    ATTEMPT_HEADER,
    CONVERSATION_ID_HEADER,
    DISTANCE_BAND_HEADER,
    EXPIRES_AT_HEADER,
    FARE_BAND_HEADER,
    FLOW_HEADER,
    HASH_SLOT_HEADER,
    HISTORY_HEADER,
    KIND_HEADER,
    MESSAGE_ID_HEADER,
    PARTITION_KEY_HEADER,
    PLAN_HEADER,
    REPLY_TO_HEADER,
    SOURCE_HEADER,
    SPEC_VERSION_HEADER,
    TIME_HEADER,
    TYPE_HEADER,
    VEHICLE_CLASS_HEADER,
    ZONE_HEADER,
)
from prebook.messaging.routing_headers import DISTANCE_BOUNDS_M, FARE_BOUNDS_CENTS
from prebook.patterns.message_groups import HASH_SLOTS
from prebook.patterns.message_history import MAX_HISTORY_CHARS
from prebook.patterns.trace import TRACEPARENT_HEADER, TRACESTATE_HEADER
from prebook.topology.archive import ARCHIVE_STREAM
from prebook.topology.values import Grant, Queue, Topology

_ID_SCHEMA = {"type": "string", "pattern": "^" + SAFE_ID.pattern.removesuffix(r"\Z") + "$"}
_TIME_SCHEMA = {"type": "string", "format": "date-time"}
_PLAN_PATTERN = ",".join(f"{flow}=({'|'.join(coupling.value for coupling in Coupling)})" for flow in FLOWS)


def _band_schema(number: str, bounds: Sequence[int], unit: str) -> dict[str, Any]:
    """Return the schema of the header with the band of a number of a confirmed ride."""
    described = f"How many of these {unit} the {number} of a confirmed ride reaches: {', '.join(map(str, bounds))}."
    return {"enum": [str(reached) for reached in range(len(bounds) + 1)], "description": described}


HEADERS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": [
        SPEC_VERSION_HEADER,
        MESSAGE_ID_HEADER,
        TYPE_HEADER,
        SOURCE_HEADER,
        CONVERSATION_ID_HEADER,
        TIME_HEADER,
        KIND_HEADER,
        FLOW_HEADER,
        PLAN_HEADER,
    ],
    "properties": {
        SPEC_VERSION_HEADER: {"const": "1.0"},
        MESSAGE_ID_HEADER: {
            **_ID_SCHEMA,
            "description": "Deduplication key: a repeated message has the same id and no second effect.",
        },
        TYPE_HEADER: {"type": "string", "pattern": r"^prebook\.[a-z_]+\.v[0-9]+$"},
        SOURCE_HEADER: {
            "type": "string",
            "description": "Service that sends the message.",
            "pattern": "^/prebook/[a-z]+$",
        },
        CONVERSATION_ID_HEADER: {**_ID_SCHEMA, "description": "Conversation: the booking that the message belongs to."},
        TIME_HEADER: _TIME_SCHEMA,
        PARTITION_KEY_HEADER: {**_ID_SCHEMA, "description": "Messages with the same key keep their order."},
        HASH_SLOT_HEADER: {
            "type": "string",
            "pattern": "^[0-9]{1,2}$",
            "description": f"crc32(ce-partitionkey) modulo {HASH_SLOTS}; message groups are partitioned by it.",
        },
        KIND_HEADER: {"enum": [kind.value for kind in MessageKind]},
        FLOW_HEADER: {"type": "string", "description": "Flow; for an event, its event type."},
        PLAN_HEADER: {
            "type": "string",
            "pattern": f"^{_PLAN_PATTERN}$",
            "description": "Coupling of every flow of the booking.",
        },
        ATTEMPT_HEADER: {"type": "string", "pattern": "^[0-9]{1,5}$", "description": "From 1."},
        REPLY_TO_HEADER: {"type": "string", "description": "Return address of the reply; only commands have one."},
        EXPIRES_AT_HEADER: {
            **_TIME_SCHEMA,
            "description": "Deadline of the request; no caller waits for the reply after it.",
        },
        VEHICLE_CLASS_HEADER: {"enum": [each.value for each in VehicleClass], "description": "Of a confirmed ride."},
        ZONE_HEADER: {"type": "string", "description": "Zone of the pickup of a confirmed ride."},
        FARE_BAND_HEADER: _band_schema("fare", FARE_BOUNDS_CENTS, "cents"),
        DISTANCE_BAND_HEADER: _band_schema("distance", DISTANCE_BOUNDS_M, "metres"),
        HISTORY_HEADER: {
            "type": "string",
            "maxLength": MAX_HISTORY_CHARS,
            "description": "Hops of the message, as publisher>exchange; any other text counts as none.",
        },
        TRACEPARENT_HEADER: {"type": "string", "description": "W3C Trace Context; ignored if it is invalid."},
        TRACESTATE_HEADER: {"type": "string", "description": "W3C Trace Context; passed on unchanged."},
    },
}


Json = dict[str, Any]
CONTRACTS_VERSION = "1.0.0"
"""Version of the contracts, not of the package: the ``v1`` at the end of every message type."""
MESSAGE_EXCHANGES = (addresses.REQUESTS, addresses.REPLIES, addresses.EVENTS)
"""Exchanges to which messages are first published; the others carry retries, parking and replays."""


def asyncapi_document(topology: Topology) -> Json:
    """Return the document. Channels are routing keys to send to and queues to receive from."""
    sent = sorted(g for g in topology.grants if g.exchange in MESSAGE_EXCHANGES and g.account in SERVICES)
    consumed = [*(q for q in topology.logical_queues() if q.consumer in SERVICES), *_subscriber_queues(topology)]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Prebook",
            "version": CONTRACTS_VERSION,
            "description": "Messages between booking, pricing, matching, notification and fleets over RabbitMQ.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {
            **{
                _send_channel_name(g.exchange, g.routing_key): _routing_key_channel(g.exchange, g.routing_key)
                for g in sent
            },
            **{_receive_channel_name(queue): _queue_channel(queue, topology) for queue in consumed},
        },
        "operations": {
            **dict(_send_operation(g) for g in sent),
            **dict(_receive_operation(queue) for queue in consumed),
        },
        "components": _components(),
    }


def _subscriber_queues(topology: Topology) -> list[Queue]:
    """Return the queues of the subscribers to confirmed rides, with their accounts as consumers."""
    accounts = {grant.queue: grant.account for grant in topology.read_grants if grant.queue != ARCHIVE_STREAM.name}
    own = (queue for queue in topology.queues if queue.name in accounts)
    return sorted(replace(queue, consumer=accounts[queue.name]) for queue in own)


def message_types(exchange: str, routing_key: str) -> tuple[type[Message], ...]:
    """Return the body types that may be published to ``exchange`` with ``routing_key``, sorted by type name."""
    return tuple(sorted(_MESSAGE_TYPES.get((exchange, routing_key), set()), key=ce_type))


def _message_types_by_key() -> Mapping[tuple[str, str], set[type[Message]]]:
    meant: dict[tuple[str, str], set[type[Message]]] = {}
    for flow in FLOWS.values():
        meant[addresses.REQUESTS, flow.name] = {flow.request_type}
        meant[addresses.EVENTS, addresses.request_routing_key(flow.name)] = {flow.request_type}
        meant[addresses.EVENTS, addresses.reply_routing_key(flow.name)] = set(flow.possible_reply_types)
        replies = addresses.caller_routing_key(flow.caller, flow.name)
        meant[addresses.REPLIES, replies] = set(flow.possible_reply_types)
    return meant | {
        (addresses.EVENTS, addresses.event_routing_key(event.name)): {event.body_type} for event in EVENT_TYPES
    }


_MESSAGE_TYPES = _message_types_by_key()


def _routing_key_channel(exchange: str, routing_key: str) -> Json:
    bound = {"name": exchange, "type": "topic", "durable": True, "autoDelete": False, "vhost": addresses.VHOST}
    return {
        "address": routing_key,
        "description": f"Published to exchange {exchange} with this routing key.",
        "messages": _messages(message_types(exchange, routing_key)),
        "bindings": {"amqp": {"is": "routingKey", "exchange": bound, "bindingVersion": "0.3.0"}},
    }


def _queue_channel(queue: Queue, topology: Topology) -> Json:
    common = {"durable": True, "exclusive": False, "autoDelete": False, "vhost": addresses.VHOST}
    name = f"{queue.partitioned_queue}.{{partition}}" if queue.partitioned_queue else queue.name
    return {
        "address": name,
        **_partition_parameters(topology.partition_count(queue.partitioned_queue)),
        "description": f"Bounded queue of {queue.consumer}; messages that fail too often are parked.",
        "messages": _messages(_received_types(queue, topology)),
        "bindings": {"amqp": {"is": "queue", "queue": {"name": name, **common}, "bindingVersion": "0.3.0"}},
    }


def _partition_parameters(partitions: int) -> Json:
    """Parameters of a message group's channel; each partition has one active consumer."""
    if not partitions:
        return {}
    described = f"{HASH_SLOT_HEADER} modulo {partitions}. A partition has one active consumer."
    return {"parameters": {"partition": {"enum": [str(n) for n in range(partitions)], "description": described}}}


def _received_types(queue: Queue, topology: Topology) -> list[type[Message]]:
    keys = set(_keys_leading_to(queue.address, topology))
    return sorted({body for exchange, key in keys for body in message_types(exchange, key)}, key=ce_type)


def _keys_leading_to(destination: str, topology: Topology) -> Iterator[tuple[str, str]]:
    """Yield exchange and routing key of the messages that reach a queue or exchange, also by other exchanges."""
    for bound in topology.bindings:
        if bound.destination == destination:
            yield bound.exchange, bound.routing_key
            if bound.exchange not in (*MESSAGE_EXCHANGES, destination):
                yield from _keys_leading_to(bound.exchange, topology)
    for exchange in topology.exchanges:
        if dict(exchange.arguments).get("alternate-exchange") == destination:
            yield from _keys_leading_to(exchange.name, topology)


def _send_operation(grant: Grant) -> tuple[str, Json]:
    channel = _send_channel_name(grant.exchange, grant.routing_key)
    operation = {
        "action": "send",
        "channel": _ref("channels", channel),
        "summary": f"{grant.account} publishes {grant.routing_key} to {grant.exchange}",
        "tags": [{"name": grant.account}],
        "bindings": {"amqp": {"deliveryMode": 2, "mandatory": True, "timestamp": True, "bindingVersion": "0.3.0"}},
    }
    return f"{grant.account}.send.{channel}", operation | _reply(grant)


def _reply(grant: Grant) -> Json:
    """Return the reply of a command; empty for any other message: the reply to a one-way request is an event."""
    if grant.exchange != addresses.REQUESTS:
        return {}
    flow = FLOWS[grant.routing_key]
    where = _send_channel_name(addresses.REPLIES, addresses.caller_routing_key(flow.caller, flow.name))
    messages = [
        _ref("channels", where, "messages", name) for body in flow.possible_reply_types for name in ce_types(body)
    ]
    return {"reply": {"channel": _ref("channels", where), "messages": messages}}


def _receive_operation(queue: Queue) -> tuple[str, Json]:
    return f"{queue.consumer}.receive.{_receive_channel_name(queue)}", {
        "action": "receive",
        "channel": _ref("channels", _receive_channel_name(queue)),
        "summary": f"{queue.consumer} consumes {queue.address} and acknowledges after its transaction",
        "tags": [{"name": queue.consumer}],
        "bindings": {"amqp": {"ack": True, "bindingVersion": "0.3.0"}},
    }


def _components() -> Json:
    _, schemas = msgspec.json.schema_components(VERSION_TYPES.values(), ref_template="#/components/schemas/{name}")
    messages = {name: _message(name, body) for name, body in sorted(VERSION_TYPES.items())}
    return {"schemas": dict(sorted({**schemas, "Headers": HEADERS_SCHEMA}.items())), "messages": messages}


def _message(name: str, body: type[Message]) -> Json:
    described = (body.__doc__ or "").strip()
    return {
        "name": name,
        "title": body.__name__,
        **({"description": described} if described else {}),
        "contentType": "application/json",
        "headers": _ref("components", "schemas", "Headers"),
        "correlationId": {
            "location": "$message.header#/ce-subject",
            "description": "The booking that the message belongs to.",
        },
        "payload": _ref("components", "schemas", body.__name__),
        "bindings": {"amqp": {"messageType": name, "bindingVersion": "0.3.0"}},
    }


def _messages(bodies: Iterable[type[Message]]) -> Json:
    """Return the messages with these bodies, in every version that a sender may write."""
    return {name: _ref("components", "messages", name) for body in bodies for name in ce_types(body)}


def _send_channel_name(exchange: str, routing_key: str) -> str:
    return f"{exchange.removeprefix('prebook.')}.{routing_key}"


def _receive_channel_name(queue: Queue) -> str:
    return f"queue.{queue.address}"


def _ref(*path: str) -> Json:
    return {"$ref": "#/" + "/".join(path)}
