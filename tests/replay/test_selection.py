"""Which archived messages are meant."""

from datetime import timedelta

import pytest

from prebook.replay.archive_selection import ArchiveSelection, OriginalFilter
from tests.replay.examples import NOON, kept, without

ENDED = "prebook.booking_ended.v1"


def at(minutes: float) -> ArchiveSelection:
    """The minute that begins so long after noon."""
    return ArchiveSelection(since=NOON + timedelta(minutes=minutes), until=NOON + timedelta(minutes=minutes + 1))


def test_what_is_not_given_does_not_narrow() -> None:
    assert ArchiveSelection().matches(kept())
    assert ArchiveSelection().matches(without(kept(), "ce-time"))


@pytest.mark.parametrize(("minutes", "taken"), [(-0.01, False), (0, True), (0.99, True), (1, False)])
def test_a_window_holds_its_beginning_and_not_its_end(minutes: float, taken: bool) -> None:
    assert at(0).matches(kept(minutes=minutes)) is taken


def test_two_windows_that_meet_take_each_message_once() -> None:
    messages = [kept(n, minutes=n / 4) for n in range(8)]
    taken = [[m.offset for m in messages if at(minute).matches(m)] for minute in (0, 1)]
    assert taken == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize("time", ["", "yesterday"])
def test_what_does_not_say_when_is_in_no_window(time: str) -> None:
    assert not at(0).matches(kept(ce_time=time))


def test_all_that_is_given_must_hold() -> None:
    selection = ArchiveSelection(types=frozenset({ENDED}), booking_ids=frozenset({"b1"}))
    assert selection.matches(kept())
    assert not selection.matches(kept(booking="b2"))
    assert not selection.matches(kept(ce_type="prebook.booking_confirmed.v1"))


def test_it_is_spelled_in_the_words_of_the_command_line() -> None:
    selection = ArchiveSelection(since=NOON, types=frozenset({"t2", "t1"}))
    assert selection.as_options() == {"from": "2026-11-24T12:00:00+00:00", "type": "t1 t2"}


def test_each_message_counts_once_and_a_replay_of_it_not_at_all() -> None:
    is_original = OriginalFilter()
    seen = [kept(1), kept(1), kept(2, prebook_x_replay_id="r1"), kept(2), kept(3)]
    assert [is_original(message) for message in seen] == [True, False, False, True, True]


def test_messages_without_an_id_are_told_apart_by_their_place() -> None:
    is_original = OriginalFilter()
    assert [is_original(without(kept(n), "ce-id")) for n in (1, 2, 1)] == [True, True, False]
