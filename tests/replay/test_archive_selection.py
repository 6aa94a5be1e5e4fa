"""Selection of archived messages."""

from datetime import timedelta

import pytest

from prebook.replay.archive_selection import ArchiveSelection, OriginalFilter
from tests.replay.examples import NOON, archived_event, without_header

ENDED = "prebook.booking_ended.v3"


def one_minute_from(minutes: float) -> ArchiveSelection:
    """Return the selection of one minute, beginning ``minutes`` after noon."""
    return ArchiveSelection(since=NOON + timedelta(minutes=minutes), until=NOON + timedelta(minutes=minutes + 1))


def test_a_selection_without_criteria_selects_every_message() -> None:
    assert ArchiveSelection().matches(archived_event())
    assert ArchiveSelection().matches(without_header(archived_event(), "ce-time"))


@pytest.mark.parametrize(("minutes", "is_selected"), [(-0.01, False), (0, True), (0.99, True), (1, False)])
def test_a_time_window_includes_its_start_and_excludes_its_end(minutes: float, is_selected: bool) -> None:
    assert one_minute_from(0).matches(archived_event(minutes=minutes)) is is_selected


def test_adjacent_windows_select_each_message_once() -> None:
    messages = [archived_event(n, minutes=n / 4) for n in range(8)]
    selected = [[m.offset for m in messages if one_minute_from(minute).matches(m)] for minute in (0, 1)]
    assert selected == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize("time", ["", "yesterday"])
def test_a_message_without_a_readable_time_is_in_no_window(time: str) -> None:
    assert not one_minute_from(0).matches(archived_event(ce_time=time))


def test_a_message_must_meet_every_criterion() -> None:
    selection = ArchiveSelection(types=frozenset({ENDED}), booking_ids=frozenset({"b1"}))
    assert selection.matches(archived_event())
    assert not selection.matches(archived_event(booking="b2"))
    assert not selection.matches(archived_event(ce_type="prebook.booking_confirmed.v1"))


def test_criteria_are_reported_by_their_option_names() -> None:
    selection = ArchiveSelection(since=NOON, types=frozenset({"t2", "t1"}))
    assert selection.as_options() == {"from": "2026-11-24T12:00:00+00:00", "type": "t1 t2"}


def test_copies_and_replays_of_a_message_are_not_originals() -> None:
    is_original = OriginalFilter()
    messages = [
        archived_event(1),
        archived_event(1),
        archived_event(2, prebook_x_replay_id="r1"),
        archived_event(2),
        archived_event(3),
    ]
    assert [is_original(message) for message in messages] == [True, False, False, True, True]


def test_messages_without_an_id_are_identified_by_their_offset() -> None:
    is_original = OriginalFilter()
    assert [is_original(without_header(archived_event(n), "ce-id")) for n in (1, 2, 1)] == [True, True, False]
