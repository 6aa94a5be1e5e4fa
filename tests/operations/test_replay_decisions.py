"""Decisions of a replay: eligibility, order, throttle, states, target and message."""

from dataclasses import replace
from datetime import timedelta
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.contracts.dead_letters import DeadLetterState
from prebook.contracts.replays import ReplayState
from prebook.messaging import addresses
from prebook.operations.dead_letters.record import edited_headers
from prebook.operations.replays.eligibility import (
    INELIGIBILITY_RULES,
    POLICY_TEXTS,
    ReplayCandidate,
    explain_ineligible,
    ordering_key_of,
    sort_candidates,
)
from prebook.operations.replays.redelivery import (
    PublishTarget,
    Redelivery,
    redelivery_message,
    redelivery_target,
)
from prebook.operations.replays.store import LeasedReplay
from prebook.operations.replays.throttle import MAX_IN_FLIGHT, ReplayProgress, batch_size, batch_sizes, due_count
from prebook.replay.eligibility import ReplayPolicy
from tests.operations.examples import NOW, QUEUE, headers

ONE_WAY_QUEUE = "pricing.one_way_requests.quote_fare"
WEEK_S = 7 * 24 * 3600.0
POLICY = ReplayPolicy(now=NOW, inbox_dedup_s=WEEK_S)
TARGETS = {
    QUEUE: {(addresses.REQUESTS, "quote_fare"), (addresses.REDELIVER, QUEUE)},
    "booking.replies": {(addresses.REPLIES, "booking.quote_fare"), (addresses.REDELIVER, "booking.replies")},
    ONE_WAY_QUEUE: {(addresses.EVENTS, "request.quote_fare"), (addresses.REDELIVER, ONE_WAY_QUEUE)},
}
ELIGIBLE = ReplayCandidate(
    id=1, state=DeadLetterState.PARKED, queue=QUEUE, message_id="m1", conversation_id="b1", occurred_at=NOW, version=0
)
OLD = NOW - timedelta(seconds=WEEK_S + 1)


def test_batch_sizes_grow() -> None:
    assert list(batch_sizes(30, None)) == [1, 2, 5, 20, 2]
    assert list(batch_sizes(3, 1.5)) == [1, 1, 1]


@given(st.integers(0, 20_000), st.none() | st.floats(0.01, 1000))
def test_batches_contain_every_message_and_respect_the_limit(messages: int, rate: float | None) -> None:
    sizes = list(batch_sizes(messages, rate))
    assert sum(sizes) == messages
    assert all(0 < size <= max(MAX_IN_FLIGHT, rate or 0) for size in sizes)


@given(st.integers(0, 20), st.integers(1, 200))
def test_a_batch_waits_until_the_previous_one_is_settled(batches: int, in_flight: int) -> None:
    assert due_count(ReplayProgress(batches, in_flight, 0, 1.0), None) == 0
    assert due_count(ReplayProgress(batches, 0, 0, 1.0), None) == batch_size(batches)


@given(st.floats(0.01, 1000), st.lists(st.floats(0.001, 60), min_size=1, max_size=30))
def test_a_rate_is_kept_at_irregular_steps(rate: float, gaps: list[float]) -> None:
    sent = 0
    for now in accumulate(gaps):
        size = due_count(ReplayProgress(0, 0, sent, now), rate)
        assert 0 <= size <= max(1, rate)
        sent += size
        assert sent <= now * rate + 1


INELIGIBLE = {
    "discarded": replace(ELIGIBLE, state=DeadLetterState.DISCARDED),
    "another replay": replace(ELIGIBLE, state=DeadLetterState.REPLAYING),
    "resolved": replace(ELIGIBLE, state=DeadLetterState.RESOLVED),
    "no service": replace(ELIGIBLE, queue="prebook.parking"),
    "message id": replace(ELIGIBLE, message_id=""),
    "too large": replace(ELIGIBLE, is_complete=False),
    "131072 bytes": replace(ELIGIBLE, payload_bytes=128 * 1024 + 1),
    "its sender": replace(ELIGIBLE, cause="forbidden_sender"),
    "first target": replace(ELIGIBLE, exchange=addresses.REPLIES, routing_key="booking.quote_fare"),
    "deduplication window": replace(ELIGIBLE, occurred_at=OLD),
}


@pytest.mark.parametrize("word", INELIGIBLE)
def test_each_ineligible_message_has_its_reason(word: str) -> None:
    assert word in explain_ineligible(INELIGIBLE[word], TARGETS, POLICY)


def test_an_eligible_message_has_no_reason_and_every_rule_is_tested() -> None:
    assert explain_ineligible(ELIGIBLE, TARGETS, POLICY) == ""
    assert len(INELIGIBLE) == len(INELIGIBILITY_RULES) + len(POLICY_TEXTS)


def test_force_overrides_only_the_inbox_window() -> None:
    forced = replace(POLICY, force=True)
    assert [word for word, c in INELIGIBLE.items() if not explain_ineligible(c, TARGETS, forced)] == [
        "deduplication window"
    ]
    assert forced.is_outside_inbox_window(INELIGIBLE["deduplication window"].occurred_at)


def test_an_operator_may_edit_and_send_a_message_of_a_forbidden_sender() -> None:
    assert explain_ineligible(replace(INELIGIBLE["its sender"], version=1), TARGETS, POLICY) == ""


def test_a_truncated_message_id_is_not_usable() -> None:
    assert explain_ineligible(replace(ELIGIBLE, message_id="m" * 201), TARGETS, POLICY)


@given(st.permutations(range(5)))
def test_messages_are_sent_in_the_order_of_their_event_times(order: list[int]) -> None:
    candidates = [replace(ELIGIBLE, id=n + 1, occurred_at=NOW + timedelta(seconds=order[n] // 2)) for n in range(5)]
    times = [(c.occurred_at, c.id) for c in sort_candidates(candidates)]
    assert times == sorted(times)


def test_the_ordering_key_is_the_conversation() -> None:
    assert ordering_key_of(ELIGIBLE) == ordering_key_of(replace(ELIGIBLE, id=2, queue="other"))
    assert ordering_key_of(replace(ELIGIBLE, conversation_id="")) != ordering_key_of(
        replace(ELIGIBLE, id=2, conversation_id="")
    )


def leased_replay(*, live: int, outcome: ReplayState | None) -> LeasedReplay:
    return LeasedReplay(
        id="r1",
        state=ReplayState.RUNNING,
        outcome=outcome,
        rate_per_s=None,
        keep_going=False,
        batches=1,
        running_s=1.0,
        requested=0,
        in_flight=live,
        sent=1,
        same_cause_failures=0,
    )


def test_a_replay_ends_once_no_redelivery_is_live() -> None:
    assert leased_replay(live=1, outcome=ReplayState.CANCELLED).final_state() is None
    assert leased_replay(live=0, outcome=None).final_state() is ReplayState.DONE
    assert leased_replay(live=0, outcome=ReplayState.STOPPED).final_state() is ReplayState.STOPPED


@pytest.mark.parametrize(
    ("queue", "exchange", "key", "expected"),
    [
        (QUEUE, addresses.REQUESTS, "quote_fare", PublishTarget(addresses.REQUESTS, "quote_fare")),
        (ONE_WAY_QUEUE, addresses.EVENTS, "request.quote_fare", PublishTarget(addresses.EVENTS, "request.quote_fare")),
        (QUEUE, addresses.REDELIVER, QUEUE, PublishTarget(addresses.REDELIVER, QUEUE)),
        (QUEUE, addresses.EVENTS, "event.booking_ended", PublishTarget(addresses.REDELIVER, QUEUE)),
        (QUEUE, "", QUEUE, PublishTarget(addresses.REDELIVER, QUEUE)),
        (QUEUE, "", "", PublishTarget(addresses.REDELIVER, QUEUE)),
        (QUEUE, addresses.REPLIES, "booking.quote_fare", None),
        (QUEUE, addresses.EVENTS, "request.quote_fare", None),
        (QUEUE, addresses.REDELIVER, "booking.replies", None),
        (QUEUE, addresses.REQUESTS, "other", None),
        ("gone", addresses.REQUESTS, "quote_fare", None),
    ],
)
def test_a_message_goes_to_its_first_target_only_if_that_leads_to_the_queue_that_it_failed_at(
    queue: str, exchange: str, key: str, expected: PublishTarget | None
) -> None:
    assert redelivery_target(exchange, key, queue, TARGETS) == expected


def test_a_redelivery_is_the_original_message_at_attempt_one_with_the_replays_marks() -> None:
    redelivery = Redelivery(
        replay_id="r1",
        dead_letter_id=7,
        queue=QUEUE,
        exchange="prebook.requests",
        routing_key="quote_fare",
        message_id="b1.quote_fare",
        headers=headers(prebook_x_traceback_digest="s", x_death="[]"),
        payload=b"body",
        is_sent=False,
    )
    sent = redelivery_message(redelivery)
    assert sent.body == b"body"
    assert {name: value for name, value in sent.headers.items() if name.startswith(("prebook-x", "x-"))} == {
        "prebook-x-exchange": "prebook.requests",
        "prebook-x-routing-key": "quote_fare",
        "prebook-x-replay-id": "r1",
        "prebook-x-dead-letter-id": "7",
    }
    assert sent.headers["prebook-attempt"] == "1"
    assert "prebook-expires-at" not in sent.headers
    assert sent.headers["ce-id"] == headers()["ce-id"]


def test_an_edit_sets_and_removes_headers() -> None:
    assert edited_headers({"a": "1", "b": "2"}, {"a": None, "c": "3"}) == {"b": "2", "c": "3"}
