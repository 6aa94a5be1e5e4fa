"""Recent stages: what a process remembers of the messages that it sends and handles."""

import gc
import time

import pytest

from prebook.contracts.conversations import MAX_RECORDS, Stage
from prebook.messaging import recent_stages
from prebook.messaging.observer import ObserverGroup
from prebook.messaging.recent_stages import RecentStages
from tests.messaging.examples import request


def test_every_stage_is_kept_with_its_duration_delay_or_reason() -> None:
    recent = RecentStages()
    before = time.time()
    message = request(attempt=2)
    recent.on_sent(message, 0.25)
    recent.on_send_failed(message, ConnectionError("refused"))
    recent.on_handling_failed(message, ValueError("no such zone"))
    recent.on_retried(message, 0.2)
    recent.on_duplicate(message)
    recent.on_expired(message, "inbound")
    recent.on_dead_lettered(message.id, message.flow, "attempts_exhausted")
    recent.on_handled(message, 0.5)

    kept = recent.of("b1")

    assert [(each.stage, each.seconds, each.attempt, each.detail) for each in kept] == [
        (Stage.SENT, 0.25, 2, ""),
        (Stage.SEND_FAILED, 0.0, 2, "ConnectionError: refused"),
        (Stage.HANDLING_FAILED, 0.0, 2, "ValueError: no such zone"),
        (Stage.RETRIED, 0.2, 2, ""),
        (Stage.DUPLICATE, 0.0, 2, ""),
        (Stage.EXPIRED, 0.0, 2, "inbound"),
        (Stage.DEAD_LETTERED, 0.0, 1, "attempts_exhausted"),
        (Stage.HANDLED, 0.5, 2, ""),
    ]
    assert {each.message_id for each in kept} == {message.id}
    assert all(before <= each.at.timestamp() <= time.time() for each in kept)


def test_stages_of_other_conversations_are_not_returned() -> None:
    recent = RecentStages()
    for conversation in ("b1", "b11", "b"):
        recent.on_sent(request(conversation), 0.0)
    assert [each.message_id for each in recent.of("b1")] == [request("b1").id]
    assert recent.of("b2") == []


def test_what_is_usual_does_not_displace_what_is_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_stages, "MAX_USUAL_STAGES", 3)
    recent = RecentStages()
    recent.on_retried(request(), 1.0)
    for number in range(10):
        recent.on_sent(request(), float(number))
    assert [(each.stage, each.seconds) for each in recent.of("b1")] == [
        (Stage.RETRIED, 1.0),
        (Stage.SENT, 7.0),
        (Stage.SENT, 8.0),
        (Stage.SENT, 9.0),
    ]


def test_an_answer_is_bounded() -> None:
    recent = RecentStages()
    for number in range(MAX_RECORDS + 10):
        recent.on_handled(request(), float(number))
    assert [each.seconds for each in recent.of("b1")][:1] == [10.0]
    assert len(recent.of("b1")) == MAX_RECORDS


def test_the_cycle_collector_does_not_scan_what_is_kept() -> None:
    recent = RecentStages()
    recent.on_sent(request(), 0.0)
    recent.on_retried(request(), 0.0)
    gc.collect()
    assert not any(gc.is_tracked(entry) for entry in (*recent._usual, *recent._other))


def test_a_group_passes_every_call_on() -> None:
    observers = [RecentStages(), RecentStages()]
    group = ObserverGroup(*observers)
    message = request()
    group.on_sent(message, 0.1)
    group.on_send_failed(message, ValueError("a"))
    group.on_handled(message, 0.1)
    group.on_handling_failed(message, ValueError("b"))
    group.on_duplicate(message)
    group.on_expired(message, "outbox")
    group.on_retried(message, 0.1)
    group.on_dead_lettered(message.id, message.flow, "cause")
    for observer in observers:
        assert {each.stage for each in observer.of("b1")} == set(Stage)
