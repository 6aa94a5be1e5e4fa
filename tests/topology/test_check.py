"""Drift is found, whatever it is, and comes with a remedy."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from prebook.topology.access import permissions, topic_permissions
from prebook.topology.check import Drift, LiveBroker, differences
from prebook.topology.model import suite_topology
from prebook.topology.values import Exchange, Policy, Queue, arguments

SUITE = suite_topology({0.2})
FAITHFUL = LiveBroker(
    exchanges=SUITE.exchanges,
    queues=frozenset(Queue(q.name, q.arguments) for q in SUITE.queues),
    bindings=SUITE.bindings,
    policies=SUITE.policies,
    permissions=permissions(SUITE),
    topic_permissions=topic_permissions(SUITE),
    effective_policies={p.name: p.definition for p in SUITE.policies},
)
QUEUE = "booking.replies"


def _without_queue(live: LiveBroker) -> LiveBroker:
    return replace(live, queues=frozenset(q for q in live.queues if q.name != QUEUE))


def _classic(live: LiveBroker) -> LiveBroker:
    return replace(_without_queue(live), queues=_without_queue(live).queues | {Queue(QUEUE, ())})


def _looser(live: LiveBroker) -> LiveBroker:
    first, *others = sorted(live.permissions)
    return replace(live, permissions=frozenset({replace(first, write=".*"), *others}))


def _any_topic(live: LiveBroker) -> LiveBroker:
    others = sorted(live.topic_permissions)[1:]
    return replace(live, topic_permissions=frozenset(others))


def _other_limit(live: LiveBroker) -> LiveBroker:
    first, *others = sorted(live.policies)
    changed = Policy(first.name, first.pattern, arguments(max_length=1))
    return replace(live, policies=frozenset({changed, *others}), effective_policies={})


DRIFTS: dict[str, tuple[Callable[[LiveBroker], LiveBroker], Drift, str]] = {
    "queue gone": (_without_queue, Drift.MISSING, "queue"),
    "queue of another type": (_classic, Drift.DIFFERENT, "queue"),
    "exchange too many": (
        lambda live: replace(live, exchanges=live.exchanges | {Exchange("other")}),
        Drift.UNEXPECTED,
        "exchange",
    ),
    "exchange of another type": (
        lambda live: replace(live, exchanges=frozenset(Exchange(x.name, "direct") for x in live.exchanges)),
        Drift.DIFFERENT,
        "exchange",
    ),
    "binding gone": (lambda live: replace(live, bindings=frozenset()), Drift.MISSING, "binding"),
    "limit changed": (_other_limit, Drift.DIFFERENT, "policy"),
    "policy outvoted": (
        lambda live: replace(live, effective_policies={**live.effective_policies, QUEUE: arguments(max_length=1)}),
        Drift.DIFFERENT,
        "effective policy",
    ),
    "permission looser": (_looser, Drift.DIFFERENT, "permission"),
    "topic permission gone": (_any_topic, Drift.MISSING, "topic permission"),
    "user raised": (
        lambda live: replace(live, user_tags={"prebook_booking": "administrator"}),
        Drift.DIFFERENT,
        "user tags",
    ),
}


def test_a_faithful_broker_is_in_sync() -> None:
    assert differences(SUITE, FAITHFUL) == []


@pytest.mark.parametrize("name", DRIFTS)
def test_drift_is_found_with_its_kind_and_a_remedy(name: str) -> None:
    change, drift, kind = DRIFTS[name]
    found = differences(SUITE, change(FAITHFUL))
    assert {(d.drift, d.kind) for d in found} == {(drift, kind)}
    assert all(d.remedy and d.name for d in found)


def test_an_empty_broker_lacks_everything() -> None:
    found = differences(SUITE, LiveBroker())
    assert {d.drift for d in found} == {Drift.MISSING}
    assert len([d for d in found if d.kind == "queue"]) == len(SUITE.queues)


def test_an_administrator_may_have_permissions() -> None:
    raised = replace(min(FAITHFUL.permissions), user="admin")
    live = replace(FAITHFUL, permissions=FAITHFUL.permissions | {raised})
    assert [d.name for d in differences(SUITE, live)] == ["admin"]
    assert differences(SUITE, live, frozenset({"admin"})) == []
