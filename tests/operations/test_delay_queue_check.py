"""Check of the delay queues: when test messages are sent, and when a queue counts as stuck."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from prebook.flows import OPERATIONS
from prebook.messaging import addresses
from prebook.messaging.recoverability.dead_letter import DeadLetter, XDeath
from prebook.operations.delay_queue_check import (
    GRACE_S,
    RESEND_INTERVAL_S,
    SEND_INTERVAL_S,
    DelayedTestMessages,
    DelayQueueCheck,
)
from prebook.testing.broker import MemoryBroker
from prebook.topology.model import suite_topology

SHORT, LONG = addresses.delay_queue(0.2), addresses.delay_queue(5.0)
NOW = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture
def messages() -> DelayedTestMessages:
    messages = DelayedTestMessages((0.2, 5.0))
    for queue in messages.queues_to_test(0.0):
        messages.sent(queue, 0.0)
    return messages


def test_every_delay_queue_is_tested_at_once_and_again_after_the_return(messages: DelayedTestMessages) -> None:
    assert DelayedTestMessages((0.2, 5.0)).queues_to_test(0.0) == [SHORT, LONG]
    assert messages.queues_to_test(100.0) == [], "one test message at a time"
    messages.returned(SHORT, 1.0)
    assert messages.queues_to_test(SEND_INTERVAL_S) == []
    assert messages.queues_to_test(1.0 + SEND_INTERVAL_S) == [SHORT]


def test_a_queue_is_overdue_when_its_own_delay_and_the_grace_have_passed(messages: DelayedTestMessages) -> None:
    assert messages.overdue_s(0.2 + GRACE_S) == {SHORT: 0.0, LONG: 0.0}
    assert messages.overdue_s(1.2 + GRACE_S) == {SHORT: 1.0 + GRACE_S, LONG: 0.0}
    messages.returned(SHORT, 40.0)
    assert messages.overdue_s(6.0 + GRACE_S) == {SHORT: 0.0, LONG: 1.0 + GRACE_S}


def test_a_missing_test_message_is_sent_again_without_ending_the_alarm(messages: DelayedTestMessages) -> None:
    resend_at = 5.0 + RESEND_INTERVAL_S
    assert messages.queues_to_test(resend_at) == [SHORT, LONG]
    messages.sent(LONG, resend_at)
    assert messages.queues_to_test(resend_at) == [SHORT]
    assert messages.overdue_s(resend_at)[LONG] == RESEND_INTERVAL_S


def test_an_outage_of_the_broker_is_not_counted(messages: DelayedTestMessages) -> None:
    messages.postpone(300.0)
    assert messages.overdue_s(300.2 + GRACE_S) == {SHORT: 0.0, LONG: 0.0}
    assert messages.overdue_s(301.2 + GRACE_S)[SHORT] == 1.0 + GRACE_S


async def test_test_messages_reach_operations_and_no_other_message_is_taken_for_one() -> None:
    broker = MemoryBroker(suite_topology((0.2, 5.0)))
    check = DelayQueueCheck(broker, (0.2, 5.0), lambda: True)
    await check._send(SHORT)
    ((exchange, key, _),) = broker.published
    assert (exchange, len(broker.queues[addresses.PARKING_QUEUE])) == (SHORT, 1)
    assert check._messages.queues_to_test(1e9) == [SHORT, LONG]
    death = XDeath(SHORT, SHORT, key, "expired", 1, NOW)
    returned = DeadLetter(key, {}, b"", (death,), NOW, addresses.broker_user(OPERATIONS))
    assert not check.is_returned(replace(returned, user=addresses.broker_user("pricing")))
    assert not check.is_returned(replace(returned, queue="pricing.events"))
    assert check.is_returned(returned)
    assert check._messages._due_at == {}
