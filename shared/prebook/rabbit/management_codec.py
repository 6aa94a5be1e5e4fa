"""What the management HTTP API takes and tells, to and from the model's values: no I/O here."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from prebook.topology import access
from prebook.topology.access import Permission, TopicPermission
from prebook.topology.check import LiveBroker, plain
from prebook.topology.values import Binding, Exchange, Policy, Queue, Topology

Json = Mapping[str, Any]
EFFECTIVE = "effective_policy_definition"
"""A statistic: a new queue does not have it for some seconds, and then nothing can be said about it."""
OWN_EXCHANGES = ("", "amq.")
"""The broker's: the nameless default exchange, and those that every virtual host is born with."""


@dataclass(frozen=True)
class Step:
    """One idempotent request; ``text`` says in an operator's words what it declares."""

    text: str
    path: str
    body: Json
    method: str = "PUT"


def escaped(name: str) -> str:
    return quote(name, safe="")


def steps(topology: Topology, vhost: str) -> Iterator[Sequence[Step]]:
    """In stages; the steps of one stage may run at once. Policies come first: no queue is ever without its limits."""
    v = escaped(vhost)
    yield [
        Step(f"policy {p.name}", f"policies/{v}/{escaped(p.name)}", _policy_body(p)) for p in sorted(topology.policies)
    ]
    yield [
        *(
            Step(f"exchange {x.name}", f"exchanges/{v}/{escaped(x.name)}", _exchange_body(x))
            for x in topology.exchanges
        ),
        *(Step(f"queue {q.name}", f"queues/{v}/{escaped(q.name)}", _queue_body(q)) for q in sorted(topology.queues)),
    ]
    yield [_binding_step(v, b) for b in sorted(topology.bindings)]
    yield [_permission_step(v, p) for p in sorted(access.permissions(topology))]
    yield [_topic_step(v, p) for p in sorted(access.topic_permissions(topology))]


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
    """The API's lists for one virtual host; users are the broker's."""
    return LiveBroker(
        exchanges=frozenset(_exchange(x) for x in exchanges if not _is_own(x["name"])),
        queues=frozenset(Queue(q["name"], plain(q["arguments"]), q["durable"]) for q in queues),
        bindings=frozenset(_binding(b) for b in bindings if b["source"]),
        policies=frozenset(_policy(p) for p in policies),
        permissions=frozenset(Permission(p["user"], p["write"], p["read"], p["configure"]) for p in permissions),
        topic_permissions=frozenset(
            TopicPermission(t["user"], t["exchange"], t["write"], t["read"]) for t in topic_permissions
        ),
        tags={user["name"]: _tags(user) for user in users},
        effective={q["name"]: plain(q[EFFECTIVE]) for q in queues if q.get(EFFECTIVE)},
    )


def user_step(user: str, secret: Json) -> Step:
    """``secret``: a new password, or the hash that the broker has already."""
    return Step(f"user {user}", f"users/{escaped(user)}", {**secret, "tags": ""})


def hash_of(user: Json) -> Json:
    return {name: user[name] for name in ("password_hash", "hashing_algorithm")}


def _is_own(exchange: str) -> bool:
    unnamed, prefix = OWN_EXCHANGES
    return exchange == unnamed or exchange.startswith(prefix)


def _exchange(told: Json) -> Exchange:
    return Exchange(told["name"], told["type"], told["durable"], plain(told["arguments"]), told["internal"])


def _binding(told: Json) -> Binding:
    onward = told["destination_type"] == "exchange"
    return Binding(told["source"], told["routing_key"], told["destination"], plain(told["arguments"]), onward)


def _policy(told: Json) -> Policy:
    definition = plain(told["definition"])
    return Policy(told["name"], told["pattern"], definition, told["apply-to"], told["priority"])


def _tags(user: Json) -> str:
    """A list since 3.9; one text before."""
    tags = user["tags"]
    return tags if isinstance(tags, str) else ",".join(tags)


def _policy_body(policy: Policy) -> Json:
    return {
        "pattern": policy.pattern,
        "definition": dict(policy.definition),
        "apply-to": policy.apply_to,
        "priority": policy.priority,
    }


def _exchange_body(exchange: Exchange) -> Json:
    return {
        "type": exchange.type,
        "durable": exchange.durable,
        "internal": exchange.internal,
        "arguments": dict(exchange.arguments),
    }


def _queue_body(queue: Queue) -> Json:
    return {"durable": queue.durable, "arguments": dict(queue.arguments)}


def _binding_step(v: str, binding: Binding) -> Step:
    path = f"bindings/{v}/e/{escaped(binding.exchange)}/{'e' if binding.onward else 'q'}/{escaped(binding.queue)}"
    said = (binding.exchange, binding.key, binding.queue, *(str(value) for _, value in binding.arguments))
    return Step(
        f"binding {' '.join(said)}", path, {"routing_key": binding.key, "arguments": dict(binding.arguments)}, "POST"
    )


def _permission_step(v: str, p: Permission) -> Step:
    body = {"configure": p.configure, "write": p.write, "read": p.read}
    return Step(f"permission {p.user}", f"permissions/{v}/{escaped(p.user)}", body)


def _topic_step(v: str, t: TopicPermission) -> Step:
    body = {"exchange": t.exchange, "write": t.write, "read": t.read}
    return Step(f"topic permission {t.user} {t.exchange}", f"topic-permissions/{v}/{escaped(t.user)}", body)
