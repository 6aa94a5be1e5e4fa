"""Check of a live broker against the model: every difference, with its remedy."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

from prebook.topology.access import Permission, TopicPermission, permissions, topic_permissions, user_tags
from prebook.topology.values import Arguments, Binding, Exchange, Policy, Queue, Topology

T = TypeVar("T")
DECLARE_REMEDY = "run `prebook topology declare`"
REMOVE_REMEDY = "remove it, or add what needs it to the model"


class Drift(StrEnum):
    """Kind of a difference."""

    MISSING = "missing"
    UNEXPECTED = "unexpected"
    DIFFERENT = "different"


@dataclass(frozen=True, order=True)
class Difference:
    """One element of the broker that differs from the model."""

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
    """Elements of one virtual host of the broker, without those that the broker itself creates."""

    exchanges: frozenset[Exchange] = frozenset()
    queues: frozenset[Queue] = frozenset()
    bindings: frozenset[Binding] = frozenset()
    policies: frozenset[Policy] = frozenset()
    permissions: frozenset[Permission] = frozenset()
    topic_permissions: frozenset[TopicPermission] = frozenset()
    user_tags: Mapping[str, str] = field(default_factory=dict)
    """Comma-separated tags by user."""
    effective_policies: Mapping[str, Arguments] = field(default_factory=dict)
    """Effective policy by queue, operator policies included; a new queue may be missing."""


@dataclass(frozen=True)
class _ElementKind(Generic[T]):
    """Functions that identify, describe and correct elements of one kind."""

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
    """Return the differences, sorted; empty if broker and model agree.

    ``administrators``: users whose permissions are not checked.
    """
    live_permissions = frozenset(p for p in live.permissions if p.user not in administrators)
    return sorted(
        (
            *_element_differences(_EXCHANGE_KIND, topology.exchanges, live.exchanges),
            *_element_differences(_QUEUE_KIND, topology.queues, live.queues),
            *_element_differences(_BINDING_KIND, topology.bindings, live.bindings),
            *_element_differences(_POLICY_KIND, topology.policies, live.policies),
            *_element_differences(_PERMISSION_KIND, permissions(topology), live_permissions),
            *_element_differences(_TOPIC_PERMISSION_KIND, topic_permissions(topology), live.topic_permissions),
            *_overridden_policies(topology, live),
            *_tagged_users(topology, live),
        )
    )


def _element_differences(kind: _ElementKind[T], model: Iterable[T], live: Iterable[T]) -> Iterator[Difference]:
    expected = {kind.identify(element): element for element in model}
    actual = {kind.identify(element): element for element in live}
    for name in expected.keys() - actual.keys():
        yield Difference(Drift.MISSING, kind.name, name, "", DECLARE_REMEDY)
    for name in actual.keys() - expected.keys():
        yield Difference(Drift.UNEXPECTED, kind.name, name, kind.describe(actual[name]), REMOVE_REMEDY)
    for name in expected.keys() & actual.keys():
        if expected[name] != actual[name]:
            detail = f"is {kind.describe(actual[name])}; should be {kind.describe(expected[name])}"
            yield Difference(Drift.DIFFERENT, kind.name, name, detail, kind.remedy)


def _overridden_policies(topology: Topology, live: LiveBroker) -> Iterator[Difference]:
    """Queues whose policy is declared as in the model, while another policy overrides it."""
    for policy in sorted(topology.policies & live.policies):
        effective = live.effective_policies.get(policy.name)
        if effective is not None and effective != policy.definition:
            detail = f"is {_format_arguments(effective)}; should be {_format_arguments(policy.definition)}"
            remedy = "look for a policy or operator policy that matches this queue with a higher priority"
            yield Difference(Drift.DIFFERENT, "effective policy", policy.name, detail, remedy)


def _tagged_users(topology: Topology, live: LiveBroker) -> Iterator[Difference]:
    for user, expected in user_tags(topology).items():
        actual = live.user_tags.get(user, expected)
        if actual != expected:
            detail = f"is {actual or 'none'}; should be {expected or 'none'}"
            yield Difference(Drift.DIFFERENT, "user tags", user, detail, DECLARE_REMEDY)


def _format_arguments(pairs: Arguments) -> str:
    return " ".join(f"{name}={value}" for name, value in pairs) or "nothing"


def arguments_from_json(pairs: Mapping[str, Any]) -> Arguments:
    """Return the arguments of an element in the broker's JSON."""
    return tuple(sorted(pairs.items()))
