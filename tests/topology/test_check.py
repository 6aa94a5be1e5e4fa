"""Check of the broker against the model: every kind of drift, with its remedy."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from prebook.messaging import addresses
from prebook.messaging.addresses import ExchangeName
from prebook.topology.access import permissions, topic_permissions
from prebook.topology.check import Drift, LiveBroker, differences
from prebook.topology.model import suite_topology
from prebook.topology.values import Exchange, Policy, Queue, arguments

SUITE = suite_topology({0.2})
MATCHING = LiveBroker(
    exchanges=SUITE.exchanges,
    queues=frozenset(Queue(q.name, q.arguments) for q in SUITE.queues),
    bindings=SUITE.bindings,
    policies=SUITE.policies,
    permissions=permissions(SUITE),
    topic_permissions=topic_permissions(SUITE),
    effective_policies={p.name: p.definition for p in SUITE.policies},
)
QUEUE = addresses.reply_queue("booking")


def _without_queue(live: LiveBroker) -> LiveBroker:
    return replace(live, queues=frozenset(q for q in live.queues if q.name != QUEUE))


def _classic_queue(live: LiveBroker) -> LiveBroker:
    return replace(_without_queue(live), queues=_without_queue(live).queues | {Queue(QUEUE, ())})


def _broader_permission(live: LiveBroker) -> LiveBroker:
    first, *others = sorted(live.permissions)
    return replace(live, permissions=frozenset({replace(first, write=".*"), *others}))


def _without_topic_permission(live: LiveBroker) -> LiveBroker:
    others = sorted(live.topic_permissions)[1:]
    return replace(live, topic_permissions=frozenset(others))


def _changed_limit(live: LiveBroker) -> LiveBroker:
    first, *others = sorted(live.policies)
    changed = Policy(first.name, first.pattern, arguments(max_length=1))
    return replace(live, policies=frozenset({changed, *others}), effective_policies={})


DRIFTS: dict[str, tuple[Callable[[LiveBroker], LiveBroker], Drift, str]] = {
    "queue missing": (_without_queue, Drift.MISSING, "queue"),
    "queue of another type": (_classic_queue, Drift.DIFFERENT, "queue"),
    "unexpected exchange": (
        lambda live: replace(live, exchanges=live.exchanges | {Exchange(ExchangeName("other"))}),
        Drift.UNEXPECTED,
        "exchange",
    ),
    "exchange of another type": (
        lambda live: replace(live, exchanges=frozenset(Exchange(x.name, "direct") for x in live.exchanges)),
        Drift.DIFFERENT,
        "exchange",
    ),
    "binding missing": (lambda live: replace(live, bindings=frozenset()), Drift.MISSING, "binding"),
    "limit changed": (_changed_limit, Drift.DIFFERENT, "policy"),
    "policy overridden": (
        lambda live: replace(live, effective_policies={**live.effective_policies, QUEUE: arguments(max_length=1)}),
        Drift.DIFFERENT,
        "effective policy",
    ),
    "broader permission": (_broader_permission, Drift.DIFFERENT, "permission"),
    "topic permission missing": (_without_topic_permission, Drift.MISSING, "topic permission"),
    "tagged user": (
        lambda live: replace(live, user_tags={"prebook_booking": "administrator"}),
        Drift.DIFFERENT,
        "user tags",
    ),
}


def test_a_broker_like_the_model_has_no_differences() -> None:
    assert differences(SUITE, MATCHING) == []


@pytest.mark.parametrize("name", DRIFTS)
def test_drift_is_reported_with_its_kind_and_a_remedy(name: str) -> None:
    change, drift, kind = DRIFTS[name]
    drift_found = differences(SUITE, change(MATCHING))
    assert {(d.drift, d.kind) for d in drift_found} == {(drift, kind)}
    assert all(d.remedy and d.name for d in drift_found)


def test_an_empty_broker_misses_every_element() -> None:
    drift_found = differences(SUITE, LiveBroker())
    assert {d.drift for d in drift_found} == {Drift.MISSING}
    assert len([d for d in drift_found if d.kind == "queue"]) == len(SUITE.queues)


def test_an_administrator_may_have_permissions() -> None:
    administrator = replace(min(MATCHING.permissions), user="admin")
    live = replace(MATCHING, permissions=MATCHING.permissions | {administrator})
    assert [d.name for d in differences(SUITE, live)] == ["admin"]
    assert differences(SUITE, live, frozenset({"admin"})) == []
