"""The topology, derived from flows and couplings: declaring, drawing, checking and documenting read this one value."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prebook.contracts.plan import Coupling, Plan
from prebook.flows import ANNOUNCEMENTS, CATALOGUE, FACT_PARTITIONS, Announcement, Flow
from prebook.messaging import addresses
from prebook.topology.archive import STREAM, archived
from prebook.topology.partitions import grouped
from prebook.topology.retry_and_dead_letter import with_recovery
from prebook.topology.values import Binding, Exchange, Grant, Leg, Link, Queue, Topology

Flows = Iterable[Flow[Any, Any]]
Announcements = Iterable[Announcement[Any]]


def suite_topology(
    backoffs: Iterable[float], flows: Flows = CATALOGUE, announcements: Announcements = ANNOUNCEMENTS
) -> Topology:
    """Everything that the running suite needs: it serves all couplings side by side. ``backoffs`` in seconds."""
    parts = [plan(flow) for flow in flows for plan in PLANS.values()]
    flowing = joined([*parts, *(told(a) for a in announcements)])
    return with_recovery(flowing, backoffs) | archived(flowing)


def topology_of(plan: Plan, flows: Flows = CATALOGUE, announcements: Announcements = ANNOUNCEMENTS) -> Topology:
    """What one plan uses, for a picture of it."""
    return joined([*(PLANS[plan[flow.name]](flow) for flow in flows), *(told(a) for a in announcements)])


def joined(parts: Iterable[Topology]) -> Topology:
    whole = Topology()
    for part in parts:
        whole |= part
    return whole


def told(announcement: Announcement[Any]) -> Topology:
    """A fact for each subscriber, and for the archive: a mandatory publish needs at least one queue."""
    key, name = addresses.fact(announcement.name), announcement.name
    grant = Grant(announcement.publisher, addresses.EVENTS, key)
    parts = [_passed(name, grant, _heard(s), Leg.TELL) for s in sorted(announcement.subscribers)]
    kept = Topology(
        exchanges=frozenset({Exchange(addresses.EVENTS)}),
        queues=frozenset({STREAM}),
        bindings=frozenset({Binding(addresses.EVENTS, key, STREAM.name)}),
        grants=frozenset({grant}),
        links=frozenset(_pushed(name, Leg.TELL, (grant.service, grant.exchange, STREAM.name), key)),
    )
    return joined([*parts, kept])


def _sync_api(flow: Flow[Any, Any]) -> Topology:
    """The answer comes in the response: the caller waits for it, so it is the caller's to pull."""
    return Topology(links=frozenset({_posted(flow, "200"), _returned(flow, Leg.ANSWER, _answers(flow))}))


def _async_api(flow: Flow[Any, Any]) -> Topology:
    callback = Link(flow.name, Leg.ANSWER, 0, flow.provider, flow.caller, f"signed callback: {_answers(flow)}", False)
    poll = _returned(flow, Leg.POLL, "GET operation, where the callback is lost")
    return Topology(links=frozenset({_posted(flow, "202 + Location"), callback, poll}))


def _one_way(flow: Flow[Any, Any]) -> Topology:
    ask = Grant(flow.caller, addresses.EVENTS, addresses.asked(flow.name))
    answer = Grant(flow.provider, addresses.EVENTS, addresses.answered(flow.name))
    return joined(
        (
            _passed(flow.name, ask, _taken(flow, addresses.asked_queue), Leg.ASK),
            _passed(flow.name, answer, End(addresses.answer_queue(flow.caller), flow.caller), Leg.ANSWER),
        )
    )


def _request_reply(flow: Flow[Any, Any]) -> Topology:
    ask = Grant(flow.caller, addresses.REQUESTS, flow.name)
    answer = Grant(flow.provider, addresses.REPLIES, flow.caller)
    return joined(
        (
            _passed(flow.name, ask, _taken(flow, addresses.request_queue), Leg.ASK),
            _passed(flow.name, answer, End(addresses.reply_queue(flow.caller), flow.caller), Leg.ANSWER),
        )
    )


PLANS: Mapping[Coupling, Callable[[Flow[Any, Any]], Topology]] = {
    Coupling.SYNC_API: _sync_api,
    Coupling.ASYNC_API: _async_api,
    Coupling.ONE_WAY: _one_way,
    Coupling.REQUEST_REPLY: _request_reply,
}
"""What each coupling contributes to the topology; a further coupling is one line here."""


@dataclass(frozen=True)
class End:
    """Where messages end up: a queue of the consumer's, or a group of so many partitions."""

    address: str
    consumer: str
    partitions: int = 0

    def declared(self) -> Topology:
        if self.partitions:
            return grouped(self.address, self.partitions, self.consumer)
        return Topology(queues=frozenset({Queue(self.address, consumer=self.consumer)}))


def _heard(subscriber: str) -> End:
    return End(addresses.fact_queue(subscriber), subscriber, FACT_PARTITIONS.get(subscriber, 0))


def _taken(flow: Flow[Any, Any], named: Callable[[str, str], str]) -> End:
    return End(named(flow.provider, flow.name), flow.provider, flow.partitions)


def _passed(lane: str, grant: Grant, end: End, leg: Leg) -> Topology:
    """By the broker: pushed as far as the queue, and taken from there at the consumer's pace."""
    pushed = _pushed(lane, leg, (grant.service, grant.exchange, end.address), grant.key)
    return end.declared() | Topology(
        exchanges=frozenset({Exchange(grant.exchange)}),
        bindings=frozenset({Binding(grant.exchange, grant.key, end.address, onward=end.partitions > 0)}),
        grants=frozenset({grant}),
        links=frozenset({*pushed, Link(lane, leg, 2, end.address, end.consumer, "", True)}),
    )


def _pushed(lane: str, leg: Leg, path: tuple[str, str, str], key: str) -> list[Link]:
    source, exchange, queue = path
    return [Link(lane, leg, 0, source, exchange, key, False), Link(lane, leg, 1, exchange, queue, "", False)]


def _posted(flow: Flow[Any, Any], status: str) -> Link:
    label = f"POST {flow.request.__name__} → {status}"
    return Link(flow.name, Leg.ASK, 0, flow.caller, flow.provider, label, False)


def _returned(flow: Flow[Any, Any], leg: Leg, label: str) -> Link:
    return Link(flow.name, leg, 0, flow.provider, flow.caller, label, True)


def _answers(flow: Flow[Any, Any]) -> str:
    return " | ".join(answer.__name__ for answer in flow.answers)
