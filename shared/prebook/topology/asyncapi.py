"""The messages on the broker as an AsyncAPI 3.0 document, derived from the topology and the contracts."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from prebook.contracts.message import Message
from prebook.contracts.plan import Coupling
from prebook.flows import ANNOUNCEMENTS, FLOWS, SERVICES
from prebook.messaging import addresses
from prebook.messaging.codec import BODIES, SAFE_ID, SLOT, type_of
from prebook.messaging.envelope import Kind
from prebook.patterns.message_groups import SLOTS
from prebook.topology.values import Binding, Grant, Queue, Topology

_ID = {"type": "string", "pattern": "^" + SAFE_ID.pattern.removesuffix(r"\Z") + "$"}
_TIME = {"type": "string", "format": "date-time"}
_PLAN = ",".join(f"{flow}=({'|'.join(coupling.value for coupling in Coupling)})" for flow in FLOWS)

HEADERS: dict[str, Any] = {
    "type": "object",
    "required": [
        "ce-specversion",
        "ce-id",
        "ce-type",
        "ce-source",
        "ce-subject",
        "ce-time",
        "prebook-kind",
        "prebook-flow",
        "prebook-plan",
    ],
    "properties": {
        "ce-specversion": {"const": "1.0"},
        "ce-id": {**_ID, "description": "The same thing said twice has the same id; receivers let one take effect."},
        "ce-type": {"type": "string", "pattern": r"^prebook\.[a-z_]+\.v[0-9]+$"},
        "ce-source": {"type": "string", "description": "The service that says it.", "pattern": "^/prebook/[a-z]+$"},
        "ce-subject": {**_ID, "description": "The conversation: the booking that it is about."},
        "ce-time": _TIME,
        "ce-partitionkey": {**_ID, "description": "Messages of one key keep their order."},
        SLOT: {
            "type": "string",
            "pattern": "^[0-9]{1,2}$",
            "description": f"crc32(ce-partitionkey) modulo {SLOTS}: what message groups are partitioned by.",
        },
        "prebook-kind": {"enum": [kind.value for kind in Kind]},
        "prebook-flow": {"type": "string", "description": "The flow; for a fact, the announcement."},
        "prebook-plan": {"type": "string", "pattern": f"^{_PLAN}$", "description": "The booking's coupling per flow."},
        "prebook-attempt": {"type": "string", "pattern": "^[0-9]{1,5}$", "description": "From 1."},
        "prebook-reply-to": {"type": "string", "description": "Where the answer goes; commands alone have it."},
        "prebook-expires-at": {**_TIME, "description": "After this nobody waits for it."},
        "traceparent": {"type": "string", "description": "W3C Trace Context."},
    },
}


Json = dict[str, Any]
VERSION = "1.0.0"
"""Of the contracts, not of the package: the ``v1`` that every message type ends in."""
CARRIERS = (addresses.REQUESTS, addresses.REPLIES, addresses.EVENTS)
"""The exchanges that carry messages for the first time; delays and parking pass on what came by these."""


def document(topology: Topology) -> Json:
    """Channels are routing keys to send to and queues to receive from; operations are each service's."""
    sent = sorted(g for g in topology.grants if g.exchange in CARRIERS and g.service in SERVICES)
    taken = [queue for queue in topology.addresses() if queue.consumer in SERVICES]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Prebook",
            "version": VERSION,
            "description": "What booking, pricing, matching, notification and fleets say to each other over RabbitMQ.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {
            **{_sending(g.exchange, g.key): _key_channel(g.exchange, g.key) for g in sent},
            **{_taking(queue): _queue_channel(queue, topology) for queue in taken},
        },
        "operations": {**dict(_send(g) for g in sent), **dict(_receive(queue) for queue in taken)},
        "components": _components(),
    }


def bodies(exchange: str, key: str) -> tuple[type[Message], ...]:
    """What may be published there: the table of what each routing key means."""
    return tuple(sorted(_MEANING.get((exchange, key), set()), key=type_of))


def _meaning() -> Mapping[tuple[str, str], set[type[Message]]]:
    meant: dict[tuple[str, str], set[type[Message]]] = {}
    for flow in FLOWS.values():
        meant[addresses.REQUESTS, flow.name] = {flow.request}
        meant[addresses.EVENTS, addresses.asked(flow.name)] = {flow.request}
        meant[addresses.EVENTS, addresses.answered(flow.name)] = set(flow.replies)
        meant.setdefault((addresses.REPLIES, flow.caller), set()).update(flow.replies)
    return meant | {(addresses.EVENTS, addresses.fact(told.name)): {told.body} for told in ANNOUNCEMENTS}


_MEANING = _meaning()


def _key_channel(exchange: str, key: str) -> Json:
    bound = {"name": exchange, "type": "topic", "durable": True, "autoDelete": False, "vhost": addresses.VHOST}
    return {
        "address": key,
        "description": f"Published to exchange {exchange} with this routing key.",
        "messages": _messages(bodies(exchange, key)),
        "bindings": {"amqp": {"is": "routingKey", "exchange": bound, "bindingVersion": "0.3.0"}},
    }


def _queue_channel(queue: Queue, topology: Topology) -> Json:
    common = {"durable": True, "exclusive": False, "autoDelete": False, "vhost": addresses.VHOST}
    name = f"{queue.group}.{{partition}}" if queue.group else queue.name
    return {
        "address": name,
        **_partitioned(topology.partitions(queue.group)),
        "description": f"Queue of {queue.consumer}, bounded; what fails too often is parked.",
        "messages": _messages(_arriving(queue, topology.bindings)),
        "bindings": {"amqp": {"is": "queue", "queue": {"name": name, **common}, "bindingVersion": "0.3.0"}},
    }


def _partitioned(partitions: int) -> Json:
    """Of a message group; each partition has one active consumer."""
    if not partitions:
        return {}
    described = f"By {SLOT}, modulo {partitions}. One consumer at a time takes from a partition."
    return {"parameters": {"partition": {"enum": [str(n) for n in range(partitions)], "description": described}}}


def _arriving(queue: Queue, bindings: Iterable[Binding]) -> list[type[Message]]:
    keys = {(bound.exchange, bound.key) for bound in bindings if bound.queue == queue.address}
    return sorted({body for exchange, key in keys for body in bodies(exchange, key)}, key=type_of)


def _send(grant: Grant) -> tuple[str, Json]:
    channel = _sending(grant.exchange, grant.key)
    operation = {
        "action": "send",
        "channel": _ref("channels", channel),
        "summary": f"{grant.service} publishes {grant.key} to {grant.exchange}",
        "tags": [{"name": grant.service}],
        "bindings": {"amqp": {"deliveryMode": 2, "mandatory": True, "timestamp": True, "bindingVersion": "0.3.0"}},
    }
    return f"{grant.service}.sends.{channel}", operation | _reply(grant)


def _reply(grant: Grant) -> Json:
    """Only a command has a return address; an event's answer is an event for whoever subscribes."""
    if grant.exchange != addresses.REQUESTS:
        return {}
    where = _sending(addresses.REPLIES, FLOWS[grant.key].caller)
    messages = [_ref("channels", where, "messages", type_of(body)) for body in FLOWS[grant.key].replies]
    return {"reply": {"channel": _ref("channels", where), "messages": messages}}


def _receive(queue: Queue) -> tuple[str, Json]:
    return f"{queue.consumer}.takes.{_taking(queue)}", {
        "action": "receive",
        "channel": _ref("channels", _taking(queue)),
        "summary": f"{queue.consumer} takes from {queue.address}, acknowledged after its transaction",
        "tags": [{"name": queue.consumer}],
        "bindings": {"amqp": {"ack": True, "bindingVersion": "0.3.0"}},
    }


def _components() -> Json:
    _, schemas = msgspec.json.schema_components(BODIES.values(), ref_template="#/components/schemas/{name}")
    messages = {name: _message(name, body) for name, body in sorted(BODIES.items())}
    return {"schemas": {**schemas, "Headers": HEADERS}, "messages": messages}


def _message(name: str, body: type[Message]) -> Json:
    described = (body.__doc__ or "").strip()
    return {
        "name": name,
        "title": body.__name__,
        **({"description": described} if described else {}),
        "contentType": "application/json",
        "headers": _ref("components", "schemas", "Headers"),
        "correlationId": {"location": "$message.header#/ce-subject", "description": "The booking it is about."},
        "payload": _ref("components", "schemas", body.__name__),
        "bindings": {"amqp": {"messageType": name, "bindingVersion": "0.3.0"}},
    }


def _messages(told: Iterable[type[Message]]) -> Json:
    return {type_of(body): _ref("components", "messages", type_of(body)) for body in told}


def _sending(exchange: str, key: str) -> str:
    return f"{exchange.removeprefix('prebook.')}.{key}"


def _taking(queue: Queue) -> str:
    return f"queue.{queue.address}"


def _ref(*path: str) -> Json:
    return {"$ref": "#/" + "/".join(path)}
