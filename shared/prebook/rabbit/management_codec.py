"""Requests and responses of the management HTTP API, as values of the topology model. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from prebook.messaging import addresses
from prebook.topology import access
from prebook.topology.access import Permission, TopicPermission
from prebook.topology.check import LiveBroker, arguments_from_json
from prebook.topology.values import Binding, Exchange, Policy, Queue, Topology

Json = Mapping[str, Any]
EFFECTIVE_POLICY = "effective_policy_definition"
"""Key of a queue's effective policy, a statistic: a new queue lacks it for some seconds."""
BUILTIN_EXCHANGES = ("", "amq.")
"""Names or prefixes of exchanges that the broker creates in every virtual host; the default one has no name."""


@dataclass(frozen=True)
class ManagementRequest:
    """One idempotent request. ``description`` is an operator's word for the object that it declares."""

    description: str
    path: str
    body: Json
    method: str = "PUT"


def escape(name: str) -> str:
    """Return the name as one segment of a path."""
    return quote(name, safe="")


def declaration_stages(topology: Topology, vhost: str) -> Iterator[Sequence[ManagementRequest]]:
    """Yield the stages of a declaration; the requests of a stage may run concurrently.

    Policies come first, so that no queue is ever without its limits.
    """
    v = escape(vhost)
    yield [
        ManagementRequest(f"policy {p.name}", f"policies/{v}/{escape(p.name)}", policy_body(p))
        for p in sorted(topology.policies)
    ]
    yield [
        *(
            ManagementRequest(f"exchange {x.name}", f"exchanges/{v}/{escape(x.name)}", exchange_body(x))
            for x in topology.exchanges
        ),
        *(
            ManagementRequest(f"queue {q.name}", f"queues/{v}/{escape(q.name)}", queue_body(q))
            for q in sorted(topology.queues)
        ),
    ]
    yield [_binding_request(v, b) for b in sorted(topology.bindings)]
    yield [_permission_request(v, p) for p in sorted(access.permissions(topology))]
    yield [_topic_permission_request(v, p) for p in sorted(access.topic_permissions(topology))]


def deletion_requests(topology: Topology, account: str, vhost: str) -> Iterator[ManagementRequest]:
    """Yield the requests that delete the queues which ``account`` consumes, their policies, and its user."""
    v = escape(vhost)
    user = addresses.broker_user(account)
    for queue in topology.consumed_queues():
        if queue.consumer == account:
            yield ManagementRequest(f"queue {queue.name}", f"queues/{v}/{escape(queue.name)}", {}, "DELETE")
            yield ManagementRequest(f"policy {queue.name}", f"policies/{v}/{escape(queue.name)}", {}, "DELETE")
    yield ManagementRequest(f"user {user}", f"users/{escape(user)}", {}, "DELETE")


def live_broker(
    *,
    exchanges: Iterable[Json],
    queues: Sequence[Json],
    bindings: Iterable[Json],
    policies: Iterable[Json],
    permissions: Iterable[Json],
    topic_permissions: Iterable[Json],
    users: Iterable[Json],
) -> LiveBroker:
    """Return the API's lists of one virtual host as a model value. ``users`` are those of the whole broker."""
    return LiveBroker(
        exchanges=frozenset(_exchange(x) for x in exchanges if not _is_builtin(x["name"])),
        queues=frozenset(Queue(q["name"], arguments_from_json(q["arguments"]), q["durable"]) for q in queues),
        bindings=frozenset(_binding(b) for b in bindings if b["source"]),
        policies=frozenset(_policy(p) for p in policies),
        permissions=frozenset(Permission(p["user"], p["write"], p["read"], p["configure"]) for p in permissions),
        topic_permissions=frozenset(
            TopicPermission(t["user"], t["exchange"], t["write"], t["read"]) for t in topic_permissions
        ),
        user_tags={user["name"]: _tags(user) for user in users},
        effective_policies={
            q["name"]: arguments_from_json(q[EFFECTIVE_POLICY]) for q in queues if q.get(EFFECTIVE_POLICY)
        },
    )


def user_request(user: str, secret: Json, tags: str) -> ManagementRequest:
    """Return the request that declares a user. ``secret``: a new password, or the hash it has."""
    return ManagementRequest(f"user {user}", f"users/{escape(user)}", {**secret, "tags": tags})


def password_hash(user: Json) -> Json:
    """Return the part of a listed user that keeps its password in a later ``user_request``."""
    return {name: user[name] for name in ("password_hash", "hashing_algorithm")}


def _is_builtin(exchange: str) -> bool:
    unnamed, prefix = BUILTIN_EXCHANGES
    return exchange == unnamed or exchange.startswith(prefix)


def _exchange(listed: Json) -> Exchange:
    return Exchange(
        listed["name"], listed["type"], listed["durable"], arguments_from_json(listed["arguments"]), listed["internal"]
    )


def _binding(listed: Json) -> Binding:
    to_exchange = listed["destination_type"] == "exchange"
    arguments = arguments_from_json(listed["arguments"])
    return Binding(listed["source"], listed["routing_key"], listed["destination"], arguments, to_exchange)


def _policy(listed: Json) -> Policy:
    definition = arguments_from_json(listed["definition"])
    return Policy(listed["name"], listed["pattern"], definition, listed["apply-to"], listed["priority"])


def _tags(user: Json) -> str:
    """Return a user's tags as one text, which RabbitMQ before 3.9 lists; later versions list an array."""
    tags = user["tags"]
    return tags if isinstance(tags, str) else ",".join(tags)


def policy_body(policy: Policy) -> Json:
    """Return a policy without its name, as the broker takes it."""
    return {
        "pattern": policy.pattern,
        "definition": dict(policy.definition),
        "apply-to": policy.apply_to,
        "priority": policy.priority,
    }


def exchange_body(exchange: Exchange) -> Json:
    """Return an exchange without its name, as the broker takes it."""
    return {
        "type": exchange.type,
        "durable": exchange.durable,
        "internal": exchange.internal,
        "arguments": dict(exchange.arguments),
    }


def queue_body(queue: Queue) -> Json:
    """Return a queue without its name, as the broker takes it."""
    return {"durable": queue.durable, "arguments": dict(queue.arguments)}


def _binding_request(v: str, binding: Binding) -> ManagementRequest:
    path = (
        f"bindings/{v}/e/{escape(binding.exchange)}/{'e' if binding.to_exchange else 'q'}/{escape(binding.destination)}"
    )
    words = (
        binding.exchange,
        binding.routing_key,
        binding.destination,
        *(str(value) for _, value in binding.arguments),
    )
    return ManagementRequest(
        f"binding {' '.join(words)}",
        path,
        {"routing_key": binding.routing_key, "arguments": dict(binding.arguments)},
        "POST",
    )


def _permission_request(v: str, p: Permission) -> ManagementRequest:
    body = {"configure": p.configure, "write": p.write, "read": p.read}
    return ManagementRequest(f"permission {p.user}", f"permissions/{v}/{escape(p.user)}", body)


def _topic_permission_request(v: str, t: TopicPermission) -> ManagementRequest:
    body = {"exchange": t.exchange, "write": t.write, "read": t.read}
    return ManagementRequest(f"topic permission {t.user} {t.exchange}", f"topic-permissions/{v}/{escape(t.user)}", body)
