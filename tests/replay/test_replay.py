"""Who gets what, as what, and what may not be sent at all."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage, decode
from prebook.messaging.headers import EXPIRES_AT_HEADER, REPLAY_ID_HEADER
from prebook.replay import archive_replay as replays
from prebook.replay.archive_replay import ArchiveReplay, ArchiveReplayOptions, SelectionTooLarge
from prebook.replay.archive_report import ArchiveRetention, ArchiveTally
from prebook.replay.archive_selection import ArchiveSelection
from prebook.replay.archived_message import ArchivedMessage, unreadable_reason
from prebook.replay.receivers import NotSubscribed, Receiver, event_receivers, marked_as_replay
from prebook.topology.model import suite_topology
from tests.replay.examples import NOON, kept

TOPOLOGY = suite_topology(())
DAY_S = 24 * 3600.0
ANYBODY = Receiver("billing.events")
(PRICING,) = [receiver for receiver in event_receivers(["pricing"], TOPOLOGY) if receiver.queue == "pricing.events"]


def considered(messages: Sequence[ArchivedMessage], *receivers: Receiver, **changes: Any) -> ArchiveReplay:
    terms = ArchiveReplayOptions(
        **{"receivers": receivers, "inbox_dedup_s": DAY_S, "apply": True, "rate_per_s": 1.0, **changes}
    )
    replay = ArchiveReplay(ArchiveSelection(), terms, requested_at=NOON + timedelta(hours=1))
    for message in messages:
        replay.consider(message)
    return replay


def test_a_service_hears_through_each_of_its_queues_what_that_is_bound_to() -> None:
    found = {receiver.queue: receiver.routing_keys for receiver in event_receivers(["pricing", "pricing"], TOPOLOGY)}
    assert found == {
        addresses.one_way_request_queue("pricing", "quote_fare"): frozenset({"request.quote_fare"}),
        addresses.event_queue("pricing"): frozenset({"event.booking_ended"}),
    }


def test_a_service_that_hears_no_events_is_named_with_those_that_do() -> None:
    with pytest.raises(NotSubscribed, match="operations subscribes to no events; these services do: booking, fleets"):
        event_receivers(["operations"], TOPOLOGY)


def test_a_message_is_sent_as_it_was_and_marked() -> None:
    message = kept(7)
    wire = marked_as_replay(message, "r1")
    assert decode(wire).extra == {REPLAY_ID_HEADER: "r1"}
    assert {**wire.headers} == {n: v for n, v in message.headers.items() if n != "x-stream-offset"} | {
        REPLAY_ID_HEADER: "r1"
    }
    assert wire.body == message.wire.body


@pytest.mark.parametrize("revive", [True, False])
def test_a_question_keeps_its_end_unless_it_is_revived(revive: bool) -> None:
    message = kept(prebook_expires_at="2026-11-24T12:00:30+00:00")
    assert (EXPIRES_AT_HEADER in marked_as_replay(message, "r1", ignore_expiry=revive).headers) is not revive


def test_each_receiver_gets_in_the_old_order_what_it_hears_and_only_that() -> None:
    deaf = Receiver("matching.one_way_replies", "matching", frozenset({"reply.ask_fleet"}))
    replay = considered([kept(1), kept(2), kept(1)], ANYBODY, deaf, PRICING)
    sent = [(sending.receiver.queue, sending.message.offset) for sending in replay.redeliveries]
    assert sent == [("billing.events", 1), ("pricing.events", 1), ("billing.events", 2), ("pricing.events", 2)]
    assert considered([kept(1)], deaf).without_receiver == 1


UNKNOWN = {
    "unknown_type": kept(ce_type="prebook.booking_ended.v2"),
    "wrong_schema": ArchivedMessage(0, "event.booking_ended", WireMessage(kept().headers, b'{"booking_id": 1}')),
    "missing_header": kept(prebook_kind=""),
}


@pytest.mark.parametrize("cause", UNKNOWN)
def test_what_this_version_does_not_know_is_refused(cause: str) -> None:
    assert unreadable_reason(kept()) == ""
    (reason,) = considered([kept(1), UNKNOWN[cause]], ANYBODY).refusals
    assert reason.startswith(f"{cause}: ")


def test_what_inboxes_may_have_forgotten_is_refused_but_for_force_and_for_queues_of_nobodys() -> None:
    old = [kept(minutes=-23 * 60 - 1)]
    assert considered(old, PRICING).refusals == {replays.OUTSIDE_INBOX_WINDOW: 1}
    assert considered(old, PRICING, force=True).refusals == {}
    assert considered(old, ANYBODY).refusals == {}
    assert considered([kept()], PRICING).refusals == {}


def test_the_report_says_what_was_asked_for() -> None:
    report = considered([kept(1)], PRICING, force=True, ignore_expiry=True).report()
    assert (report.force, report.ignore_expiry, report.rate_per_s, report.receivers) == (
        True,
        True,
        1.0,
        ("pricing.events",),
    )
    assert (report.messages, report.redeliveries, report.sent, report.new_effects) == (1, 1, 0, None)


def test_more_than_memory_should_hold_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "MAX_REDELIVERIES", 2)
    assert len(considered([kept(1), kept(2)], ANYBODY).redeliveries) == 2
    with pytest.raises(SelectionTooLarge, match="more than 2"):
        considered([kept(1), kept(2), kept(3)], ANYBODY)


def test_the_archive_is_told_by_type_with_copies_apart() -> None:
    tally = ArchiveTally()
    for message in (kept(1, minutes=5), kept(2), kept(2, prebook_x_replay_id="r1"), kept(3, ce_type="other")):
        tally.add(message)
    status = tally.status(ArchiveRetention(max_age="7D", max_bytes=1, segment_bytes=1))
    assert (status.messages, status.copies) == (3, 1)
    assert status.types == {"other": 1, "prebook.booking_ended.v1": 2}
    assert (status.first_offset, status.last_offset) == (1, 3)
    assert (status.first_occurred_at, status.last_occurred_at) == (NOON, NOON + timedelta(minutes=5))


def test_an_empty_archive_can_be_told_too() -> None:
    status = ArchiveTally().status(ArchiveRetention(max_age="7D", max_bytes=1, segment_bytes=1))
    assert (status.messages, status.first_offset, status.last_occurred_at) == (0, None, None)
