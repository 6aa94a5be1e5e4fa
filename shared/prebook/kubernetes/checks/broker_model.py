"""Model step, broker: what the operator would declare equals the topology, as sets."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from prebook.kubernetes.checks.findings import CheckStep, Finding
from prebook.kubernetes.checks.manifests import Manifests, read_mapping, read_number, read_text, read_texts
from prebook.kubernetes.checks.provided import user_of
from prebook.kubernetes.documents import Document, identity
from prebook.kubernetes.generation.topology import QUEUE_TYPE
from prebook.messaging.addresses import VHOST, ExchangeName, QueueName, broker_user
from prebook.topology.access import Permission, TopicPermission, broker_accounts
from prebook.topology.check import LiveBroker, arguments_from_json, differences
from prebook.topology.values import Arguments, Binding, Exchange, Policy, Queue, Topology

REMEDY = "run `prebook kubernetes generate`"
FIELDS: Mapping[str, frozenset[str]] = {
    "Vhost": frozenset({"name", "defaultQueueType", "deletionPolicy"}),
    "Exchange": frozenset({"name", "vhost", "type", "durable", "arguments"}),
    "Queue": frozenset({"name", "vhost", "type", "durable", "arguments", "deletionPolicy"}),
    "Binding": frozenset({"vhost", "source", "destination", "destinationType", "routingKey", "arguments"}),
    "Policy": frozenset({"name", "vhost", "pattern", "applyTo", "priority", "definition"}),
    "User": frozenset({"tags", "importCredentialsSecret"}),
    "Permission": frozenset({"vhost", "user", "permissions"}),
    "TopicPermission": frozenset({"vhost", "user", "permissions"}),
}
"""Fields of each kind that the model knows, beside the reference to the broker."""
BROKER_REFERENCE = "rabbitmqClusterReference"
RETAINED = ("Vhost", "Queue")
"""Kinds of which a deleted resource would delete messages."""


def check_broker_model(manifests: Manifests, topology: Topology) -> Iterator[Finding]:
    """Yield every difference between the resources of the Messaging Topology Operator and the topology."""
    declared = _declared_broker(manifests)
    for difference in differences(topology, declared):
        yield Finding(CheckStep.MODEL, f"{difference.kind} {difference.name}", _problem(difference), REMEDY)
    yield from _argument_type_findings(topology, declared)
    yield from _user_findings(manifests, topology)
    yield from _vhost_findings(manifests)
    for kind, known in FIELDS.items():
        for document in manifests.of_kind(kind):
            for field in sorted(read_mapping(document, "spec").keys() - known - {BROKER_REFERENCE}):
                yield _finding(document, f"{field} is not in the model", "remove the field")
    for document in manifests.of_kind(*RETAINED):
        if read_text(document, "spec", "deletionPolicy") != "retain":
            yield _finding(document, "a deleted resource would delete its messages", "set deletionPolicy: retain")


def _problem(difference: Any) -> str:
    return f"{difference.drift}{': ' if difference.detail else ''}{difference.detail}"


def _finding(document: Document, problem: str, remedy: str) -> Finding:
    return Finding(CheckStep.MODEL, identity(document), problem, remedy)


def _declared_broker(manifests: Manifests) -> LiveBroker:
    """Return the broker as it would be once the operator has declared all resources, with the operator's defaults."""

    def specs(kind: str) -> Iterator[Mapping[str, Any]]:
        for document in manifests.of_kind(kind):
            spec = read_mapping(document, "spec")
            if read_text(spec, "vhost") == VHOST:
                yield spec

    return LiveBroker(
        exchanges=frozenset(map(_exchange, specs("Exchange"))),
        queues=frozenset(map(_queue, specs("Queue"))),
        bindings=frozenset(map(_binding, specs("Binding"))),
        policies=frozenset(map(_policy, specs("Policy"))),
        permissions=frozenset(
            Permission(read_text(s, "user"), *(read_text(s, "permissions", p) for p in ("write", "read", "configure")))
            for s in specs("Permission")
        ),
        topic_permissions=frozenset(
            TopicPermission(
                read_text(s, "user"), *(read_text(s, "permissions", p) for p in ("exchange", "write", "read"))
            )
            for s in specs("TopicPermission")
        ),
        user_tags={
            user_of(manifests, document): ",".join(read_texts(document, "spec", "tags"))
            for document in manifests.of_kind("User")
        },
    )


def _exchange(spec: Mapping[str, Any]) -> Exchange:
    exchange_type = read_text(spec, "type") or "direct"
    return Exchange(ExchangeName(read_text(spec, "name")), exchange_type, spec.get("durable") is True, _arguments(spec))


def _queue(spec: Mapping[str, Any]) -> Queue:
    queue_type = {QUEUE_TYPE: read_text(spec, "type")} if read_text(spec, "type") else {}
    arguments = _arguments({"arguments": {**read_mapping(spec, "arguments"), **queue_type}})
    return Queue(QueueName(read_text(spec, "name")), arguments, spec.get("durable") is True)


def _binding(spec: Mapping[str, Any]) -> Binding:
    return Binding(
        ExchangeName(read_text(spec, "source")),
        read_text(spec, "routingKey"),
        QueueName(read_text(spec, "destination")),
        _arguments(spec),
        read_text(spec, "destinationType") == "exchange",
    )


def _policy(spec: Mapping[str, Any]) -> Policy:
    definition = _arguments({"arguments": read_mapping(spec, "definition")})
    apply_to = read_text(spec, "applyTo") or "all"
    return Policy(
        read_text(spec, "name"), read_text(spec, "pattern"), definition, apply_to, read_number(spec, "priority")
    )


def _arguments(spec: Mapping[str, Any]) -> Arguments:
    """Return arguments as the model has them; a list or mapping, which the model never has, as text."""
    pairs = read_mapping(spec, "arguments")
    return arguments_from_json({str(k): v if isinstance(v, Hashable) else repr(v) for k, v in pairs.items()})


def _argument_type_findings(topology: Topology, declared: LiveBroker) -> Iterator[Finding]:
    """Yield elements that are equal in Python and not to the broker, for which true is not 1."""
    pairs: list[tuple[dict[str, Arguments], dict[str, Arguments]]] = [
        ({q.name: q.arguments for q in topology.queues}, {q.name: q.arguments for q in declared.queues}),
        ({x.name: x.arguments for x in topology.exchanges}, {x.name: x.arguments for x in declared.exchanges}),
        ({p.name: p.definition for p in topology.policies}, {p.name: p.definition for p in declared.policies}),
    ]
    for expected, actual in pairs:
        for name in expected.keys() & actual.keys():
            if expected[name] == actual[name] and repr(expected[name]) != repr(actual[name]):
                problem = f"a type differs: is {actual[name]}; should be {expected[name]}"
                yield Finding(CheckStep.MODEL, name, problem, REMEDY)


def _user_findings(manifests: Manifests, topology: Topology) -> Iterator[Finding]:
    expected = {broker_user(account) for account in broker_accounts(topology)}
    actual = [user_of(manifests, document) for document in manifests.of_kind("User")]
    for user in sorted(expected - {*actual}):
        yield Finding(CheckStep.MODEL, f"user {user}", "no User imports a Secret with this name", REMEDY)
    for user in sorted({u for u in actual if u not in expected or actual.count(u) > 1}):
        yield Finding(
            CheckStep.MODEL, f"user {user or 'without a name'}", "is not in the model, or occurs twice", REMEDY
        )


def _vhost_findings(manifests: Manifests) -> Iterator[Finding]:
    vhosts = [read_mapping(document, "spec") for document in manifests.of_kind("Vhost")]
    if [(read_text(v, "name"), read_text(v, "defaultQueueType")) for v in vhosts] != [(VHOST, "quorum")]:
        yield Finding(
            CheckStep.MODEL, f"Vhost/{VHOST}", "there is not exactly one, with quorum queues by default", REMEDY
        )
    for kind, known in FIELDS.items():
        if "vhost" in known:
            for document in manifests.of_kind(kind):
                if (vhost := read_text(document, "spec", "vhost") or "/") != VHOST:
                    yield _finding(document, f"it is declared in the virtual host {vhost!r}", f"set vhost: {VHOST}")
