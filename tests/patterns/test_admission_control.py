"""Admission control and waiting room."""

from dataclasses import replace
from itertools import accumulate

import pytest

from prebook.patterns.admission_control import STALLED_RETRY_AFTER_S, Hysteresis, QueueLoad
from prebook.patterns.waiting_room import MAX_WAIT_S, RESERVATION_GRACE_S, WaitingRoom


def load(waiting: float, *, age_share: float = 0.0, per_s: float = 0.0) -> QueueLoad:
    return QueueLoad(waiting=waiting, limit=100, age_share=age_share, completions_per_s=per_s)


@pytest.mark.parametrize(
    ("waiting", "shedding"),
    [((99, 60, 99), False), ((100,), True), ((100, 99, 51), True), ((100, 50), False), ((100, 50, 99), False)],
)
def test_shedding_starts_at_the_limit_and_ends_at_half_of_it(waiting: tuple[int, ...], *, shedding: bool) -> None:
    *_, hysteresis = accumulate(map(load, waiting), Hysteresis.updated, initial=Hysteresis())

    assert hysteresis.shedding == shedding
    assert hysteresis.allows(load(waiting[-1]), has_reservation=False) == (not shedding)


@pytest.mark.parametrize(
    ("now", "admitted"),
    [(load(110), True), (load(125), False), (load(110, age_share=1.0), False), (load(0, age_share=1.2), False)],
)
def test_a_reservation_has_headroom_unless_the_queue_is_stalled(now: QueueLoad, *, admitted: bool) -> None:
    assert Hysteresis().updated(now).allows(now, has_reservation=True) == admitted


def test_age_alone_starts_shedding() -> None:
    assert Hysteresis().updated(load(1, age_share=1.0)).shedding


def test_the_projected_load_adds_admissions_and_subtracts_completions() -> None:
    sampled = load(40, per_s=20.0)

    assert sampled.projected(1.0, admitted=50).waiting == 70
    assert sampled.projected(1.0, admitted=5).waiting == 40


def test_the_reopening_time_is_the_time_to_half_of_the_limit() -> None:
    assert load(100).reopens_in_s(10.0) == 5.0
    assert load(30).reopens_in_s(10.0) == 0.0
    assert replace(load(100), throughput_limit=40).reopens_in_s(10.0) == 8.0
    assert load(30, age_share=1.0).reopens_in_s(10.0) == STALLED_RETRY_AFTER_S


def test_every_reservation_has_a_time_of_its_own() -> None:
    room = WaitingRoom()
    waits = [room.reserve_wait_s(f"k{n}", 0.0, opens_in_s=5.0, admissions_per_s=10.0) for n in range(50)]

    assert waits == pytest.approx([5.0 + n / 10 for n in range(50)])
    assert [room.has_due_reservation("k9", at) for at in (5.8, 5.9, 20.0)] == [False, True, True]


def test_an_early_return_keeps_its_time_and_a_refused_return_goes_first() -> None:
    room = WaitingRoom()
    for n in range(50):
        room.reserve_wait_s(f"k{n}", 0.0, opens_in_s=5.0, admissions_per_s=10.0)

    assert room.reserve_wait_s("k9", 1.0, opens_in_s=5.0, admissions_per_s=10.0) == pytest.approx(4.9)
    assert room.reserve_wait_s("k9", 6.0, opens_in_s=2.0, admissions_per_s=10.0) == 2.0


def test_reservations_have_a_maximum_wait_and_expire_unused() -> None:
    room = WaitingRoom()
    waits = [room.reserve_wait_s(f"k{n}", 0.0, opens_in_s=0.0, admissions_per_s=1.0) for n in range(500)]

    assert max(waits) == MAX_WAIT_S
    assert len(room) == MAX_WAIT_S
    room.reserve_wait_s("late", MAX_WAIT_S + RESERVATION_GRACE_S + 1.0, opens_in_s=0.0, admissions_per_s=1.0)
    assert len(room) == 1
    room.remove("late")
    assert len(room) == 0
