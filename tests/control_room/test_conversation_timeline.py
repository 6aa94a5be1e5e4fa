"""The timeline of a conversation: waits, processing, attempts and outcomes, from the services' records."""

from typing import Any

import pytest

from prebook.contracts.conversations import BlockedRecord, ConversationRecords, PendingRecord, Stage
from prebook.contracts.dead_letters import DeadLetterState
from prebook.contracts.plan import Coupling
from prebook.control_room.conversation_timeline import MessageTrace, trace_messages
from prebook.control_room.message_ids import conversation_of
from prebook.messaging.envelope import MessageKind
from prebook.messaging.outbox.store import LOCAL_ROUTE
from tests.control_room.conversation_records import at, parked, received, records, sent, stage, summary


def traces(*parts: ConversationRecords, coupling: Coupling = Coupling.REQUEST_REPLY, **more: Any) -> list[MessageTrace]:
    return list(trace_messages(summary(coupling), parts, **more))


def ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def parts(trace: MessageTrace) -> tuple[float | None, float | None, float | None]:
    return ms(trace.outbox_s), ms(trace.queue_s), ms(trace.processing_s)


def test_outbox_queue_and_processing_are_told_apart() -> None:
    request, reply = traces(
        records("booking", sent=(sent("quote_fare", 0, 22),), received=(received("quote_fare.reply", 35),)),
        records(
            "pricing",
            received=(received("quote_fare", 12, 18),),
            sent=(sent("quote_fare.reply", 12, 33, type="fare.quoted.v1"),),
            stages=(stage("quote_fare", Stage.HANDLED, 20, 10), stage("quote_fare.reply", Stage.SENT, 24, 3)),
        ),
        records("booking", stages=(stage("quote_fare", Stage.SENT, 5, 1),)),
    )
    assert (request.sender, request.receiver, request.kind) == ("booking", "pricing", MessageKind.REQUEST)
    assert (request.created_at, request.left_at, request.began_at, request.ended_at) == (at(0), at(4), at(10), at(20))
    assert parts(request) == (4, 6, 10)
    assert (request.state, request.is_measured, request.attempts) == ("handled", True, ())
    assert (reply.sender, reply.receiver, reply.kind) == ("pricing", "booking", MessageKind.REPLY)
    assert parts(reply) == (9, 14, None)
    assert (reply.state, reply.is_measured, reply.type) == ("handled", False, "fare.quoted.v1")


def test_without_memories_the_tables_tell_what_they_can() -> None:
    request, driver = traces(
        records("booking", sent=(sent("quote_fare", 0, 22), sent("find_driver", 40, 52))),
        records("pricing", received=(received("quote_fare", 12, 18),)),
        records("matching", received=(received("find_driver", 60, 400),)),
    )
    assert parts(request) == (12, 0, 6), "it left at the latest when it was received"
    assert parts(driver) == (12, 8, None), "the reply of an auction is made long after its request was handled"


def test_an_inline_call_has_no_outbox_and_no_reply_of_its_own() -> None:
    request, reply = traces(
        records(
            "booking",
            stages=(stage("quote_fare", Stage.SENT, 30, 29), stage("quote_fare.reply", Stage.HANDLED, 40, 9)),
            received=(received("quote_fare.reply", 31),),
        ),
        records(
            "pricing",
            received=(received("quote_fare", 6, 21),),
            stages=(stage("quote_fare", Stage.HANDLED, 25, 20),),
        ),
        coupling=Coupling.SYNC_API,
    )
    assert (request.created_at, request.left_at) == (at(1), at(1))
    assert parts(request) == (0, 4, 20)
    assert (reply.sender, reply.created_at) == ("pricing", at(21))
    assert parts(reply) == (0, 10, 9)


def test_an_accepted_call_waits_in_the_outbox_of_its_receiver() -> None:
    (request,) = traces(
        records("booking", sent=(sent("quote_fare", 0, 22, route="http:pricing"),)),
        records("pricing", sent=(sent("quote_fare", 9, route=LOCAL_ROUTE),)),
        coupling=Coupling.ASYNC_API,
    )
    assert (request.state, parts(request)) == ("under_way", (22, None, None))


def test_an_event_goes_to_each_subscriber_and_is_shown_without_any() -> None:
    confirmed, *ended = traces(
        records("booking", sent=(sent("booking_confirmed", 60, 70), sent("booking_ended", 80, 90))),
        records("pricing", received=(received("booking_ended", 91),)),
        records("matching"),
    )
    assert (confirmed.receiver, confirmed.state, confirmed.coupling) == (None, "published", Coupling.ONE_WAY)
    assert [(each.receiver, each.state) for each in ended] == [("matching", "under_way"), ("pricing", "handled")]


def test_a_delayed_message_waits_only_from_when_it_is_due() -> None:
    (request,) = traces(
        records("booking", sent=(sent("notify_rider.confirmed.2", 0, 2010, due_at=at(2000)),)),
        records("notification", received=(received("notify_rider.confirmed.2", 2020, 2021),)),
    )
    assert (request.key, parts(request)) == ("confirmed.2", (10, 10, 1))


def test_failed_attempts_are_listed_with_their_reasons() -> None:
    (request,) = traces(
        records("booking", sent=(sent("quote_fare", 0, 30, failures=1, error="Unreachable: gone"),)),
        records(
            "pricing",
            stages=(
                stage("quote_fare", Stage.HANDLED, 300, 5, attempt=2),
                stage("quote_fare", Stage.RETRIED, 42, 200),
                stage("quote_fare", Stage.HANDLING_FAILED, 41, detail="ValueError: no such zone"),
            ),
        ),
        records("booking", stages=(stage("quote_fare", Stage.SEND_FAILED, 3, detail="Unreachable: gone"),)),
    )
    assert [(each.service, each.stage, each.at, each.seconds, each.detail) for each in request.attempts] == [
        ("booking", Stage.SEND_FAILED, at(3), 0.0, "Unreachable: gone"),
        ("pricing", Stage.HANDLING_FAILED, at(41), 0.0, "ValueError: no such zone"),
        ("pricing", Stage.RETRIED, at(42), 0.2, ""),
    ]
    assert (request.state, request.attempt, request.send_failures, request.error) == (
        "handled",
        2,
        1,
        "Unreachable: gone",
    )


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (DeadLetterState.PARKED, "parked"),
        (DeadLetterState.REPLAYING, "parked"),
        (DeadLetterState.DISCARDED, "discarded"),
        (DeadLetterState.RESOLVED, "under_way"),
    ],
)
def test_a_dead_letter_is_parked_until_it_is_resolved(state: DeadLetterState, expected: str) -> None:
    letter = parked("quote_fare", "pricing.requests.quote_fare", 500, state=state)
    (request,) = traces(records("booking", sent=(sent("quote_fare", 0, 10),)), parked=[letter])
    assert (request.state, request.error) == (expected, "ValueError: no such zone")
    assert [(each.service, each.stage, each.attempt, each.detail) for each in request.attempts] == [
        ("pricing", Stage.DEAD_LETTERED, 5, "attempts_exhausted")
    ]


def test_an_event_is_parked_at_the_subscriber_whose_queue_it_came_from() -> None:
    letter = parked("booking_ended", "matching.events", 500)
    found = traces(records("booking", sent=(sent("booking_ended", 0, 10),)), parked=[letter])
    assert [(each.receiver, each.state) for each in found] == [("matching", "parked"), ("pricing", "under_way")]


def test_messages_under_way_say_where_they_are() -> None:
    blocked = BlockedRecord(
        message_id="bk_1.notify_rider.confirmed", status="waiting", error="ValueError", blocked_at=at(9)
    )
    found = traces(
        records(
            "booking",
            sent=(
                sent("quote_fare", 0),
                sent("find_driver", 1, state="expired", error="expired after an attempt"),
                sent("notify_rider.confirmed", 2, 5),
            ),
            pending=(PendingRecord(message_id="bk_1.quote_fare", due_at=at(9000)),),
        ),
        records("notification", blocked=(blocked,)),
    )
    assert [(each.name, each.state, each.error) for each in found] == [
        ("quote_fare", "in_outbox", ""),
        ("find_driver", "expired", "expired after an attempt"),
        ("notify_rider", "blocked", "ValueError"),
    ]


def test_a_synthetic_reply_comes_from_the_caller_itself() -> None:
    request, reply = traces(
        records(
            "booking",
            sent=(sent("quote_fare", 0, 10),),
            received=(received("quote_fare.reply", 5000),),
            stages=(stage("quote_fare.reply", Stage.HANDLED, 5004, 3),),
        ),
        records("pricing"),
    )
    assert (request.state, request.is_timeout) == ("under_way", False)
    assert (reply.sender, reply.receiver, reply.is_timeout, parts(reply)) == ("booking", "booking", True, (0, 0, 3))


def test_a_reply_that_came_too_late_does_not_hide_the_synthetic_one() -> None:
    _, reply = traces(
        records("booking", sent=(sent("quote_fare", 0, 10),), received=(received("quote_fare.reply", 5000),)),
        records("pricing", received=(received("quote_fare", 7000, 7001),)),
    )
    assert (reply.sender, reply.is_timeout) == ("booking", True)


def test_a_service_that_did_not_answer_is_not_taken_for_one_that_did_not_reply() -> None:
    (reply,) = traces(records("booking", received=(received("quote_fare.reply", 50),)))
    assert (reply.sender, reply.is_timeout) == ("pricing", False)


def test_clocks_that_contradict_each_other_give_no_negative_wait() -> None:
    (request,) = traces(
        records("booking", sent=(sent("quote_fare", 10, 20),)),
        records("pricing", stages=(stage("quote_fare", Stage.HANDLED, 9, 4),)),
    )
    assert parts(request) == (0, 0, 4)


def test_messages_are_numbered_in_the_order_of_their_times() -> None:
    found = traces(
        records(
            "booking", sent=(sent("find_driver", 40, 41), sent("quote_fare", 0, 1), sent("booking_confirmed", 60, 61))
        )
    )
    assert [(each.number, each.name) for each in found] == [
        (1, "quote_fare"),
        (2, "find_driver"),
        (3, "booking_confirmed"),
    ]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("bk_1", "bk_1"),
        ("bk_1.quote_fare", "bk_1"),
        ("bk_1.quote_fare.reply", "bk_1"),
        ("bk_1.ask_fleet.ada.reply", "bk_1"),
        ("bk_1.leg_settled.2", "bk_1"),
        ("calm.000017", "calm.000017"),
        ("my.quote_fares", "my.quote_fares"),
        (".quote_fare", ".quote_fare"),
    ],
)
def test_a_message_id_leads_to_its_conversation(reference: str, expected: str) -> None:
    assert conversation_of(reference) == expected


def test_messages_of_unknown_flows_are_left_out() -> None:
    assert traces(records("booking", sent=(sent("teleport", 0, 1),))) == []
