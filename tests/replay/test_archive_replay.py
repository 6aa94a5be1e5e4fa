"""Planning of a replay from the archive: receivers, headers, ineligible messages, reports."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage, decode
from prebook.messaging.headers import EXPIRES_AT_HEADER, REPLAY_ID_HEADER
from prebook.replay import archive_replay as archive_replays
from prebook.replay.archive_replay import ArchiveReplay, ArchiveReplayOptions, SelectionTooLarge
from prebook.replay.archive_report import ArchiveRetention, ArchiveTally
from prebook.replay.archive_selection import ArchiveSelection
from prebook.replay.archived_message import ArchivedMessage, decoding_error
from prebook.replay.eligibility import IneligibleReason, ReplayPolicy
from prebook.replay.receivers import NotSubscribed, Receiver, event_receivers
from prebook.replay.redelivery import marked_as_replay
from prebook.topology.model import suite_topology
from prebook.topology.sender_check import sender_check
from tests.replay.examples import NOON, archived_event

TOPOLOGY = suite_topology(())
DAY_S = 24 * 3600.0
FOREIGN_QUEUE = Receiver("billing.events")
(PRICING,) = [receiver for receiver in event_receivers(["pricing"], TOPOLOGY) if receiver.queue == "pricing.events"]


def planned(messages: Sequence[ArchivedMessage], *receivers: Receiver, **policy: Any) -> ArchiveReplay:
    options = ArchiveReplayOptions(
        receivers=receivers,
        policy=ReplayPolicy(now=NOON + timedelta(hours=1), inbox_dedup_s=DAY_S, **policy),
        apply=True,
        rate_per_s=1.0,
        check_sender=sender_check(TOPOLOGY),
    )
    replay = ArchiveReplay(ArchiveSelection(), options)
    for message in messages:
        replay.consider(message)
    return replay


def test_a_service_receives_through_each_of_its_queues_the_routing_keys_bound_to_it() -> None:
    found = {receiver.queue: receiver.routing_keys for receiver in event_receivers(["pricing", "pricing"], TOPOLOGY)}
    assert found == {
        addresses.one_way_request_queue("pricing", "quote_fare"): frozenset({"request.quote_fare"}),
        addresses.event_queue("pricing"): frozenset({"event.booking_ended"}),
    }


def test_the_error_for_a_service_without_subscriptions_lists_the_services_that_have_some() -> None:
    with pytest.raises(NotSubscribed, match="operations subscribes to no events; these services do: booking, fleets"):
        event_receivers(["operations"], TOPOLOGY)


def test_a_replayed_message_differs_from_the_original_by_the_replay_id_only() -> None:
    message = archived_event(7)
    wire = marked_as_replay(message.wire, "r1")
    assert decode(wire).extra == {REPLAY_ID_HEADER: "r1"}
    assert {**wire.headers} == {n: v for n, v in message.headers.items() if n != "x-stream-offset"} | {
        REPLAY_ID_HEADER: "r1"
    }
    assert wire.body == message.wire.body


@pytest.mark.parametrize("ignore_expiry", [True, False])
def test_a_request_keeps_its_expiry_unless_the_replay_ignores_it(ignore_expiry: bool) -> None:
    message = archived_event(prebook_expires_at="2026-11-24T12:00:30+00:00")
    headers = marked_as_replay(message.wire, "r1", ignore_expiry=ignore_expiry).headers
    assert (EXPIRES_AT_HEADER in headers) is not ignore_expiry


def test_an_expired_request_is_sent_with_its_expiry() -> None:
    replay = planned([archived_event(prebook_expires_at="2026-11-24T12:00:30+00:00")], PRICING)
    assert replay.unsent == {}
    assert EXPIRES_AT_HEADER in replay.redeliveries[0].wire.headers


def test_each_receiver_gets_the_messages_it_subscribes_to_in_the_original_order() -> None:
    unsubscribed = Receiver("matching.one_way_replies", "matching", frozenset({"reply.ask_fleet"}))
    replay = planned([archived_event(1), archived_event(2), archived_event(1)], FOREIGN_QUEUE, unsubscribed, PRICING)
    sent = [(redelivery.receiver.queue, redelivery.message.offset) for redelivery in replay.redeliveries]
    assert sent == [("billing.events", 1), ("pricing.events", 1), ("billing.events", 2), ("pricing.events", 2)]
    assert planned([archived_event(1)], unsubscribed).without_receiver == 1


UNREADABLE = {
    "unknown_type": archived_event(ce_type="prebook.booking_ended.v9"),
    "wrong_schema": ArchivedMessage(
        0, "event.booking_ended", WireMessage(archived_event().headers, b'{"booking_id": 1}')
    ),
    "missing_header": archived_event(prebook_kind=""),
}


@pytest.mark.parametrize("cause", UNREADABLE)
def test_a_message_that_this_version_cannot_decode_is_ineligible(cause: str) -> None:
    assert decoding_error(archived_event()) == ""
    (reason,) = planned([archived_event(1), UNREADABLE[cause]], FOREIGN_QUEUE).unsent
    assert reason.startswith(f"{cause}: ")


def test_a_message_outside_the_inbox_window_is_ineligible_unless_forced_or_sent_to_a_foreign_queue() -> None:
    old = [archived_event(minutes=-23 * 60 - 1)]
    assert planned(old, PRICING).unsent == {IneligibleReason.OUTSIDE_INBOX_WINDOW: 1}
    assert planned(old, PRICING, force=True).unsent == {}
    assert planned(old, FOREIGN_QUEUE).unsent == {}
    assert planned([archived_event()], PRICING).unsent == {}


def test_the_report_contains_the_options_of_the_replay() -> None:
    report = planned([archived_event(1)], PRICING, force=True, ignore_expiry=True).report()
    assert (report.force, report.ignore_expiry, report.rate_per_s, report.receivers) == (
        True,
        True,
        1.0,
        ("pricing.events",),
    )
    assert (report.messages, report.redeliveries, report.sent, report.new_effects) == (1, 1, 0, None)


def test_a_selection_larger_than_memory_should_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_replays, "MAX_REDELIVERIES", 2)
    assert len(planned([archived_event(1), archived_event(2)], FOREIGN_QUEUE).redeliveries) == 2
    with pytest.raises(SelectionTooLarge, match="more than 2"):
        planned([archived_event(1), archived_event(2), archived_event(3)], FOREIGN_QUEUE)


def test_the_status_counts_messages_by_type_and_copies_separately() -> None:
    tally = ArchiveTally()
    for message in (
        archived_event(1, minutes=5),
        archived_event(2),
        archived_event(2, prebook_x_replay_id="r1"),
        archived_event(3, ce_type="other"),
    ):
        tally.add(message)
    status = tally.status(ArchiveRetention(max_age="7D", max_bytes=1, segment_bytes=1))
    assert (status.messages, status.copies) == (3, 1)
    assert status.types == {"other": 1, "prebook.booking_ended.v3": 2}
    assert (status.first_offset, status.last_offset) == (1, 3)
    assert (status.first_occurred_at, status.last_occurred_at) == (NOON, NOON + timedelta(minutes=5))


def test_the_status_of_an_empty_archive_has_no_offsets_and_times() -> None:
    status = ArchiveTally().status(ArchiveRetention(max_age="7D", max_bytes=1, segment_bytes=1))
    assert (status.messages, status.first_offset, status.last_occurred_at) == (0, None, None)


@pytest.mark.parametrize("user", ["", "prebook_notification", "prebook_archive_reader"])
def test_a_forged_message_is_left_out_and_hides_no_original(user: str) -> None:
    replay = planned([archived_event(1, user=user), archived_event(1), archived_event(2)], PRICING)
    assert [redelivery.message.user for redelivery in replay.redeliveries] == ["prebook_booking"] * 2
    report = replay.report()
    assert (report.messages, report.forbidden, report.unsent) == (2, 1, ())


def test_a_message_whose_headers_name_another_flow_is_left_out_for_services_only() -> None:
    forged = archived_event(1, prebook_kind="reply", prebook_flow="quote_fare")
    assert planned([forged], PRICING).report().forbidden == 1
    assert planned([forged], FOREIGN_QUEUE).report().messages == 1
