"""Bookings by plan in bins of time."""

from prebook.control_room.timeline import BIN_S, BINS, Timeline


def bins(timeline: Timeline, now_s: float, **states: int) -> list[tuple[int, ...] | None]:
    found: list[tuple[int, ...] | None] = timeline.note(now_s, {"one_way": states})["plans"]["one_way"]
    assert len(found) == BINS
    return found


def test_a_bin_has_what_came_since_the_bin_before() -> None:
    timeline = Timeline()
    assert bins(timeline, 1000.0, requested=3)[-1] is None  # what came before the first look has no time
    assert bins(timeline, 1005.0, requested=2, confirmed=4, failed=1)[-1] == (4, 4, 1)
    assert bins(timeline, 1009.9, requested=2, confirmed=5, rejected=1, expired=1, failed=1)[-1] == (7, 6, 2)
    found = bins(timeline, 1011.0, requested=2, confirmed=5, rejected=1, expired=1, failed=1)
    assert found[-2:] == [(7, 6, 2), (0, 0, 0)]


def test_a_bin_in_which_nobody_looked_has_no_figures() -> None:
    timeline = Timeline()
    bins(timeline, 1000.0, confirmed=1)
    bins(timeline, 1005.0, confirmed=2)
    found = bins(timeline, 1020.0, confirmed=9)
    assert found[-5:] == [None, (1, 1, 0), None, None, None]


def test_a_new_plan_begins_with_its_first_booking() -> None:
    timeline = Timeline()
    timeline.note(1000.0, {})
    assert bins(timeline, 1005.0, requested=2)[-1] == (2, 0, 0)


def test_the_oldest_bins_end() -> None:
    timeline = Timeline()
    for step in range(2 * BINS):
        found = timeline.note(1000.0 + step * BIN_S, {"one_way": {"confirmed": step}})
    assert found["plans"]["one_way"] == [(1, 1, 0)] * BINS
    assert found["from_s"] == 1000 + (BINS * BIN_S)
