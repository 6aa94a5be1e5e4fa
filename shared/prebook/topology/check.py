"""The model against what a live broker tells: every difference, with its remedy."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

from prebook.topology.access import Permission, TopicPermission, permissions, topic_permissions
from prebook.topology.values import Arguments, Binding, Exchange, Policy, Queue, Topology

T = TypeVar("T")
DECLARE = "run `prebook topology declare`"
REMOVE = "remove it, or add what needs it to the model"


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
    tags: Mapping[str, str] = field(default_factory=dict)
    """User -> tags, comma-separated."""
    effective: Mapping[str, Arguments] = field(default_factory=dict)
    """Queue -> what its policies come to, an operator's policies included; a new queue may not be told yet."""


@dataclass(frozen=True)
class _Kind(Generic[T]):
    """How the things of one kind are told apart, spelled, and put right where they differ."""

    name: str
    key: Callable[[T], str]
    spell: Callable[[T], str]
    change: str = DECLARE


_EXCHANGES: _Kind[Exchange] = _Kind(
    "exchange",
    lambda x: x.name,
    lambda x: f"type {x.type}, durable {x.durable}, internal {x.internal}, {_spelled(x.arguments)}",
    f"stop the suite, delete it, then {DECLARE}: a broker cannot change an exchange",
)
_QUEUES: _Kind[Queue] = _Kind(
    "queue",
    lambda q: q.name,
    lambda q: f"{_spelled(q.arguments)}, durable {q.durable}",
    f"drain it, delete it, then {DECLARE}: a broker cannot change a queue's arguments",
)
_BINDINGS: _Kind[Binding] = _Kind(
    "binding",
    lambda b: " ".join((f"{b.exchange} -{b.key}-> {b.queue}", *(f"{n}={v}" for n, v in b.arguments))),
    lambda _: "",
)
_POLICIES: _Kind[Policy] = _Kind(
    "policy",
    lambda p: p.name,
    lambda p: f"{p.pattern} on {p.apply_to}, priority {p.priority}, {_spelled(p.definition)}",
)
_PERMISSIONS: _Kind[Permission] = _Kind(
    "permission", lambda p: p.user, lambda p: f"configure {p.configure} write {p.write} read {p.read}"
)
_TOPICS: _Kind[TopicPermission] = _Kind(
    "topic permission", lambda p: f"{p.user} on {p.exchange}", lambda p: f"write {p.write} read {p.read}"
)


def differences(topology: Topology, live: LiveBroker, administrators: frozenset[str] = frozenset()) -> list[Difference]:
    """Sorted; empty where broker and model agree. ``administrators`` may hold permissions that no service has."""
    held = frozenset(p for p in live.permissions if p.user not in administrators)
    return sorted(
        (
            *_compared(_EXCHANGES, topology.exchanges, live.exchanges),
            *_compared(_QUEUES, topology.queues, live.queues),
            *_compared(_BINDINGS, topology.bindings, live.bindings),
            *_compared(_POLICIES, topology.policies, live.policies),
            *_compared(_PERMISSIONS, permissions(topology), held),
            *_compared(_TOPICS, topic_permissions(topology), live.topic_permissions),
            *_outvoted(topology, live),
            *_tagged(topology, live),
        )
    )


def _compared(kind: _Kind[T], model: Iterable[T], live: Iterable[T]) -> Iterator[Difference]:
    wanted, found = ({kind.key(x): x for x in xs} for xs in (model, live))
    for name in wanted.keys() - found.keys():
        yield Difference(Drift.MISSING, kind.name, name, "", DECLARE)
    for name in found.keys() - wanted.keys():
        yield Difference(Drift.UNEXPECTED, kind.name, name, kind.spell(found[name]), REMOVE)
    for name in wanted.keys() & found.keys():
        if wanted[name] != found[name]:
            detail = f"is {kind.spell(found[name])}; should be {kind.spell(wanted[name])}"
            yield Difference(Drift.DIFFERENT, kind.name, name, detail, kind.change)


def _outvoted(topology: Topology, live: LiveBroker) -> Iterator[Difference]:
    """Our policy is there as it should be, and yet the queue does not follow it."""
    for policy in sorted(topology.policies & live.policies):
        effective = live.effective.get(policy.name)
        if effective is not None and effective != policy.definition:
            detail = f"is {_spelled(effective)}; should be {_spelled(policy.definition)}"
            remedy = "look for a policy or operator policy that matches this queue with a higher priority"
            yield Difference(Drift.DIFFERENT, "effective policy", policy.name, detail, remedy)


def _tagged(topology: Topology, live: LiveBroker) -> Iterator[Difference]:
    for permission in sorted(permissions(topology)):
        if tags := live.tags.get(permission.user):
            yield Difference(Drift.DIFFERENT, "user tags", permission.user, f"is {tags}; should be none", DECLARE)


def _spelled(pairs: Arguments) -> str:
    return " ".join(f"{name}={value}" for name, value in pairs) or "nothing"


def plain(pairs: Mapping[str, Any]) -> Arguments:
    """Arguments as a broker's JSON has them, to values that compare."""
    return tuple(sorted(pairs.items()))
