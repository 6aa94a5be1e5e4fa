"""How fast, in which order, where to, and which messages at all."""

from dataclasses import replace
from datetime import timedelta
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.contracts.dead_letters import DeadLetterState
from prebook.contracts.replays import RedeliveryState, ReplayState
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
    LIVE_STATES,
    REDELIVERY_TRANSITIONS,
    PublishTarget,
    Redelivery,
    redelivery_message,
    redelivery_target,
)
from prebook.operations.replays.store import LeasedReplay
from prebook.operations.replays.throttle import MAX_IN_FLIGHT, ReplayProgress, batch_size, batch_sizes, due_count
from prebook.replay.eligibility import ReplayPolicy
from tests.operations.parcels import NOW, QUEUE, headers

WEEK_S = 7 * 24 * 3600.0
TERMS = ReplayPolicy(now=NOW, inbox_dedup_s=WEEK_S)
QUEUES = {QUEUE}
GOOD = ReplayCandidate(
    id=1, state=DeadLetterState.PARKED, queue=QUEUE, message_id="m1", conversation_id="b1", occurred_at=NOW, version=0
)
OLD = NOW - timedelta(seconds=WEEK_S + 1)


def test_batches_grow() -> None:
    assert list(batch_sizes(30, None)) == [1, 2, 5, 20, 2]
    assert list(batch_sizes(3, 1.5)) == [1, 1, 1]


@given(st.integers(0, 20_000), st.none() | st.floats(0.01, 1000))
def test_batches_add_up_and_never_flood(messages: int, rate: float | None) -> None:
    sizes = list(batch_sizes(messages, rate))
    assert sum(sizes) == messages
    assert all(0 < size <= max(MAX_IN_FLIGHT, rate or 0) for size in sizes)


@given(st.integers(0, 20), st.integers(1, 200))
def test_a_batch_waits_for_the_one_before(batches: int, in_flight: int) -> None:
    assert due_count(ReplayProgress(batches, in_flight, 0, 1.0), None) == 0
    assert due_count(ReplayProgress(batches, 0, 0, 1.0), None) == batch_size(batches)


@given(st.floats(0.01, 1000), st.lists(st.floats(0.001, 60), min_size=1, max_size=30))
def test_a_rate_is_not_exceeded_however_irregular_the_steps(rate: float, gaps: list[float]) -> None:
    sent = 0
    for now in accumulate(gaps):
        size = due_count(ReplayProgress(0, 0, sent, now), rate)
        assert 0 <= size <= max(1, rate)
        sent += size
        assert sent <= now * rate + 1


OBJECTED = {
    "discarded": replace(GOOD, state=DeadLetterState.DISCARDED),
    "another replay": replace(GOOD, state=DeadLetterState.REPLAYING),
    "resolved": replace(GOOD, state=DeadLetterState.RESOLVED),
    "no service": replace(GOOD, queue="prebook.parking"),
    "message id": replace(GOOD, message_id=""),
    "too large": replace(GOOD, is_complete=False),
    "deduplication window": replace(GOOD, occurred_at=OLD),
}


@pytest.mark.parametrize("word", OBJECTED)
def test_each_objection_says_what_to_do(word: str) -> None:
    assert word in explain_ineligible(OBJECTED[word], QUEUES, TERMS)


def test_what_is_fit_is_taken_and_every_objection_is_tried() -> None:
    assert explain_ineligible(GOOD, QUEUES, TERMS) == ""
    assert len(OBJECTED) == len(INELIGIBILITY_RULES) + len(POLICY_TEXTS)


def test_force_overrules_age_alone() -> None:
    forced = replace(TERMS, force=True)
    assert [word for word, c in OBJECTED.items() if not explain_ineligible(c, QUEUES, forced)] == [
        "deduplication window"
    ]
    assert forced.is_outside_inbox_window(OBJECTED["deduplication window"].occurred_at)


def test_an_id_that_was_cut_is_no_id() -> None:
    assert explain_ineligible(replace(GOOD, message_id="m" * 201), QUEUES, TERMS)


@given(st.permutations(range(5)))
def test_messages_are_sent_as_they_were_said(order: list[int]) -> None:
    said = [replace(GOOD, id=n + 1, occurred_at=NOW + timedelta(seconds=order[n] // 2)) for n in range(5)]
    times = [(c.occurred_at, c.id) for c in sort_candidates(said)]
    assert times == sorted(times)


def test_lanes_are_conversations() -> None:
    assert ordering_key_of(GOOD) == ordering_key_of(replace(GOOD, id=2, queue="other"))
    assert ordering_key_of(replace(GOOD, conversation_id="")) != ordering_key_of(
        replace(GOOD, id=2, conversation_id="")
    )


def test_every_state_of_a_message_is_reached_and_only_live_ones_go_on() -> None:
    assert set().union(*REDELIVERY_TRANSITIONS.values()) | {RedeliveryState.REQUESTED} == set(RedeliveryState)
    assert frozenset({RedeliveryState.REQUESTED, RedeliveryState.IN_FLIGHT}) == LIVE_STATES


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


ALLOWED = {
    (addresses.REQUESTS, "quote_fare"),
    (addresses.EVENTS, "request.quote_fare"),
    (addresses.EVENTS, "event.booking_ended"),
    (addresses.REDELIVER, QUEUE),
}


@pytest.mark.parametrize(
    ("exchange", "key", "expected"),
    [
        (addresses.REQUESTS, "quote_fare", PublishTarget(addresses.REQUESTS, "quote_fare")),
        (addresses.EVENTS, "request.quote_fare", PublishTarget(addresses.EVENTS, "request.quote_fare")),
        (addresses.EVENTS, "event.booking_ended", PublishTarget(addresses.REDELIVER, QUEUE)),
        (addresses.REQUESTS, "other", PublishTarget(addresses.REDELIVER, QUEUE)),
        ("", QUEUE, PublishTarget(addresses.REDELIVER, QUEUE)),
        ("", "", PublishTarget(addresses.REDELIVER, QUEUE)),
    ],
)
def test_back_to_its_first_address_where_that_is_ours_and_reaches_nobody_else(
    exchange: str, key: str, expected: PublishTarget
) -> None:
    assert redelivery_target(exchange, key, QUEUE, ALLOWED) == expected


def test_it_leaves_as_it_was_said_on_its_first_attempt_and_marked() -> None:
    redelivery = Redelivery(
        replay_id="r1",
        dead_letter_id=7,
        queue=QUEUE,
        exchange="prebook.requests",
        routing_key="quote_fare",
        message_id="b1.quote_fare",
        headers=headers(prebook_x_stack_digest="s", x_death="[]"),
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


def test_an_edit_sets_and_takes_away() -> None:
    assert edited_headers({"a": "1", "b": "2"}, {"a": None, "c": "3"}) == {"b": "2", "c": "3"}
