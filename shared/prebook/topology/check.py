"""The model against what a live broker tells: every difference, with its remedy."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

from prebook.topology.access import Permission, TopicPermission, permissions, topic_permissions
from prebook.topology.values import Arguments, Binding, Exchange, Policy, Queue, Topology

T = TypeVar("T")
DECLARE_REMEDY = "run `prebook topology declare`"
REMOVE_REMEDY = "remove it, or add what needs it to the model"


class Drift(StrEnum):
    MISSING = "missing"
    UNEXPECTED = "unexpected"
    DIFFERENT = "different"


@dataclass(frozen=True, order=True)
class Difference:
    drift: Drift
    kind: str
    """exchange, queue, binding, policy, effective policy, permission, topic permission or user tags."""
    name: str
    detail: str
    remedy: str

    def __str__(self) -> str:
        detail = f": {self.detail}" if self.detail else ""
        return f"{self.drift} {self.kind} {self.name}{detail}; {self.remedy}"


@dataclass(frozen=True)
class LiveBroker:
    """One virtual host as the broker tells it, without what the broker itself puts there."""

    exchanges: frozenset[Exchange] = frozenset()
    queues: frozenset[Queue] = frozenset()
    bindings: frozenset[Binding] = frozenset()
    policies: frozenset[Policy] = frozenset()
    permissions: frozenset[Permission] = frozenset()
    topic_permissions: frozenset[TopicPermission] = frozenset()
    user_tags: Mapping[str, str] = field(default_factory=dict)
    """User -> tags, comma-separated."""
    effective_policies: Mapping[str, Arguments] = field(default_factory=dict)
    """Queue -> what its policies come to, an operator's policies included; a new queue may not be told yet."""


@dataclass(frozen=True)
class _ElementKind(Generic[T]):
    """How the things of one kind are told apart, spelled, and put right where they differ."""

    name: str
    identify: Callable[[T], str]
    describe: Callable[[T], str]
    remedy: str = DECLARE_REMEDY


_EXCHANGE_KIND: _ElementKind[Exchange] = _ElementKind(
    "exchange",
    lambda x: x.name,
    lambda x: f"type {x.type}, durable {x.durable}, internal {x.internal}, {_format_arguments(x.arguments)}",
    f"stop the suite, delete it, then {DECLARE_REMEDY}: a broker cannot change an exchange",
)
_QUEUE_KIND: _ElementKind[Queue] = _ElementKind(
    "queue",
    lambda q: q.name,
    lambda q: f"{_format_arguments(q.arguments)}, durable {q.durable}",
    f"drain it, delete it, then {DECLARE_REMEDY}: a broker cannot change a queue's arguments",
)
_BINDING_KIND: _ElementKind[Binding] = _ElementKind(
    "binding",
    lambda b: " ".join((f"{b.exchange} -{b.routing_key}-> {b.destination}", *(f"{n}={v}" for n, v in b.arguments))),
    lambda _: "",
)
_POLICY_KIND: _ElementKind[Policy] = _ElementKind(
    "policy",
    lambda p: p.name,
    lambda p: f"{p.pattern} on {p.apply_to}, priority {p.priority}, {_format_arguments(p.definition)}",
)
_PERMISSION_KIND: _ElementKind[Permission] = _ElementKind(
    "permission", lambda p: p.user, lambda p: f"configure {p.configure} write {p.write} read {p.read}"
)
_TOPIC_PERMISSION_KIND: _ElementKind[TopicPermission] = _ElementKind(
    "topic permission", lambda p: f"{p.user} on {p.exchange}", lambda p: f"write {p.write} read {p.read}"
)


def differences(topology: Topology, live: LiveBroker, administrators: frozenset[str] = frozenset()) -> list[Difference]:
    """Sorted; empty where broker and model agree. ``administrators`` may hold permissions that no service has."""
    held = frozenset(p for p in live.permissions if p.user not in administrators)
    return sorted(
        (
            *_element_differences(_EXCHANGE_KIND, topology.exchanges, live.exchanges),
            *_element_differences(_QUEUE_KIND, topology.queues, live.queues),
            *_element_differences(_BINDING_KIND, topology.bindings, live.bindings),
            *_element_differences(_POLICY_KIND, topology.policies, live.policies),
            *_element_differences(_PERMISSION_KIND, permissions(topology), held),
            *_element_differences(_TOPIC_PERMISSION_KIND, topic_permissions(topology), live.topic_permissions),
            *_overridden_policies(topology, live),
            *_tagged_users(topology, live),
        )
    )


def _element_differences(kind: _ElementKind[T], model: Iterable[T], live: Iterable[T]) -> Iterator[Difference]:
    wanted, found = ({kind.identify(x): x for x in xs} for xs in (model, live))
    for name in wanted.keys() - found.keys():
        yield Difference(Drift.MISSING, kind.name, name, "", DECLARE_REMEDY)
    for name in found.keys() - wanted.keys():
        yield Difference(Drift.UNEXPECTED, kind.name, name, kind.describe(found[name]), REMOVE_REMEDY)
    for name in wanted.keys() & found.keys():
        if wanted[name] != found[name]:
            detail = f"is {kind.describe(found[name])}; should be {kind.describe(wanted[name])}"
            yield Difference(Drift.DIFFERENT, kind.name, name, detail, kind.remedy)


def _overridden_policies(topology: Topology, live: LiveBroker) -> Iterator[Difference]:
    """Our policy is there as it should be, and yet the queue does not follow it."""
    for policy in sorted(topology.policies & live.policies):
        effective = live.effective_policies.get(policy.name)
        if effective is not None and effective != policy.definition:
            detail = f"is {_format_arguments(effective)}; should be {_format_arguments(policy.definition)}"
            remedy = "look for a policy or operator policy that matches this queue with a higher priority"
            yield Difference(Drift.DIFFERENT, "effective policy", policy.name, detail, remedy)


def _tagged_users(topology: Topology, live: LiveBroker) -> Iterator[Difference]:
    for permission in sorted(permissions(topology)):
        if tags := live.user_tags.get(permission.user):
            yield Difference(
                Drift.DIFFERENT, "user tags", permission.user, f"is {tags}; should be none", DECLARE_REMEDY
            )


def _format_arguments(pairs: Arguments) -> str:
    return " ".join(f"{name}={value}" for name, value in pairs) or "nothing"


def arguments_from_json(pairs: Mapping[str, Any]) -> Arguments:
    """Arguments as a broker's JSON has them, to values that compare."""
    return tuple(sorted(pairs.items()))
