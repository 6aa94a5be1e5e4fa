"""How fast, in which order, where to, and which messages at all."""

from dataclasses import replace
from datetime import timedelta
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.contracts.dead_letters import ParkedState
from prebook.contracts.replays import ItemState, ReplayState
from prebook.messaging import addresses
from prebook.operations.replays.eligibility import (
    LIVE,
    NEXT,
    OBJECTIONS,
    Candidate,
    Terms,
    ending,
    lane,
    objection,
    ordered,
)
from prebook.operations.replays.redelivery import Address, edited, outgoing, way_back
from prebook.operations.replays.throttle import LARGEST, Progress, batch, batches_of, due
from tests.operations.parcels import NOW, QUEUE, headers

WEEK_S = 7 * 24 * 3600.0
TERMS = Terms(now=NOW, remembered_s=WEEK_S, queues={QUEUE})
GOOD = Candidate(
    id=1, state=ParkedState.PARKED, queue=QUEUE, message_id="m1", conversation="b1", said_at=NOW, version=0
)
OLD = NOW - timedelta(seconds=WEEK_S + 1)


def test_batches_grow() -> None:
    assert list(batches_of(30, None)) == [1, 2, 5, 20, 2]
    assert list(batches_of(3, 1.5)) == [1, 1, 1]


@given(st.integers(0, 20_000), st.none() | st.floats(0.01, 1000))
def test_batches_add_up_and_never_flood(messages: int, rate: float | None) -> None:
    sizes = list(batches_of(messages, rate))
    assert sum(sizes) == messages
    assert all(0 < size <= max(LARGEST, rate or 0) for size in sizes)


@given(st.integers(0, 20), st.integers(1, 200))
def test_a_batch_waits_for_the_one_before(batches: int, in_flight: int) -> None:
    assert due(Progress(batches, in_flight, 0, 1.0), None) == 0
    assert due(Progress(batches, 0, 0, 1.0), None) == batch(batches)


@given(st.floats(0.01, 1000), st.lists(st.floats(0.001, 60), min_size=1, max_size=30))
def test_a_rate_is_not_exceeded_however_irregular_the_steps(rate: float, gaps: list[float]) -> None:
    sent = 0
    for now in accumulate(gaps):
        size = due(Progress(0, 0, sent, now), rate)
        assert 0 <= size <= max(1, rate)
        sent += size
        assert sent <= now * rate + 1


OBJECTED = {
    "discarded": replace(GOOD, state=ParkedState.DISCARDED),
    "another replay": replace(GOOD, state=ParkedState.REPLAYING),
    "resolved": replace(GOOD, state=ParkedState.RESOLVED),
    "no service": replace(GOOD, queue="prebook.parked"),
    "message id": replace(GOOD, message_id=""),
    "too large": replace(GOOD, whole=False),
    "forgotten": replace(GOOD, said_at=OLD),
}


@pytest.mark.parametrize("word", OBJECTED)
def test_each_objection_says_what_to_do(word: str) -> None:
    assert word in objection(OBJECTED[word], TERMS)


def test_what_is_fit_is_taken_and_every_objection_is_tried() -> None:
    assert objection(GOOD, TERMS) == ""
    assert len(OBJECTED) == len(OBJECTIONS)


def test_force_overrules_age_alone() -> None:
    forced = replace(TERMS, force=True)
    assert [word for word, c in OBJECTED.items() if not objection(c, forced)] == ["forgotten"]
    assert forced.aged(OBJECTED["forgotten"])


def test_an_id_that_was_cut_is_no_id() -> None:
    assert objection(replace(GOOD, message_id="m" * 201), TERMS)


@given(st.permutations(range(5)))
def test_messages_are_sent_as_they_were_said(order: list[int]) -> None:
    said = [replace(GOOD, id=n + 1, said_at=NOW + timedelta(seconds=order[n] // 2)) for n in range(5)]
    times = [(c.said_at, c.id) for c in ordered(said)]
    assert times == sorted(times)


def test_lanes_are_conversations() -> None:
    assert lane(GOOD) == lane(replace(GOOD, id=2, queue="other"))
    assert lane(replace(GOOD, conversation="")) != lane(replace(GOOD, id=2, conversation=""))


def test_every_state_of_a_message_is_reached_and_only_live_ones_go_on() -> None:
    assert set().union(*NEXT.values()) | {ItemState.REQUESTED} == set(ItemState)
    assert frozenset({ItemState.REQUESTED, ItemState.IN_FLIGHT}) == LIVE


def test_how_a_replay_ends() -> None:
    assert ending(live=1, outcome=ReplayState.CANCELLED) is None
    assert ending(live=0, outcome=None) is ReplayState.DONE
    assert ending(live=0, outcome=ReplayState.STOPPED) is ReplayState.STOPPED


ALLOWED = {
    (addresses.REQUESTS, "quote_fare"),
    (addresses.EVENTS, "asked.quote_fare"),
    (addresses.EVENTS, "fact.booking_ended"),
    (addresses.REDELIVER, QUEUE),
}


@pytest.mark.parametrize(
    ("exchange", "key", "expected"),
    [
        (addresses.REQUESTS, "quote_fare", Address(addresses.REQUESTS, "quote_fare")),
        (addresses.EVENTS, "asked.quote_fare", Address(addresses.EVENTS, "asked.quote_fare")),
        (addresses.EVENTS, "fact.booking_ended", Address(addresses.REDELIVER, QUEUE)),
        (addresses.REQUESTS, "other", Address(addresses.REDELIVER, QUEUE)),
        ("", QUEUE, Address(addresses.REDELIVER, QUEUE)),
        ("", "", Address(addresses.REDELIVER, QUEUE)),
    ],
)
def test_back_to_its_first_address_where_that_is_ours_and_reaches_nobody_else(
    exchange: str, key: str, expected: Address
) -> None:
    assert way_back(exchange, key, QUEUE, ALLOWED) == expected


def test_it_leaves_as_it_was_said_on_its_first_attempt_and_marked() -> None:
    sent = outgoing(
        headers(prebook_x_stack="s", x_death="[]"),
        b"body",
        replay_id="r1",
        parked_id=7,
        origin=Address("prebook.requests", "quote_fare"),
    )
    assert sent.body == b"body"
    assert {name: value for name, value in sent.headers.items() if name.startswith(("prebook-x", "x-"))} == {
        "prebook-x-exchange": "prebook.requests",
        "prebook-x-key": "quote_fare",
        "prebook-x-replay": "r1",
        "prebook-x-parked": "7",
    }
    assert sent.headers["prebook-attempt"] == "1"
    assert "prebook-expires-at" not in sent.headers
    assert sent.headers["ce-id"] == headers()["ce-id"]


def test_an_edit_sets_and_takes_away() -> None:
    assert edited({"a": "1", "b": "2"}, {"a": None, "c": "3"}) == {"b": "2", "c": "3"}
