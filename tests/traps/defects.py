"""Seeded defects: known mistakes of messaging systems in the product's code, each with the test that catches it.

A test that cannot fail proves nothing. A seed replaces the code that prevents the mistake.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from aiohttp.resolver import ThreadedResolver
from sqlalchemy import text

from prebook.contracts.plan import Coupling
from prebook.contracts.replays import RedeliveryState
from prebook.messaging.codec import WireMessage, decode
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import PermanentFailure, Unreachable
from prebook.messaging.outbox.keyed_queue import KeyedQueue, Ticket
from prebook.messaging.outbox.sender import Sender
from prebook.messaging.outbox.store import LeasedRow, OutboxState
from prebook.messaging.unit_of_work import OutboxMessage
from prebook.operations.replays import eligibility
from prebook.operations.replays.redelivery import DeliveryOutcome, Redelivery
from prebook.operations.replays.runner import ReplayRunner
from prebook.patterns.budget import RetryBudget
from prebook.postgres import flush
from prebook.postgres import outbox as outboxes
from prebook.postgres.inbox import RECORD_MESSAGE
from prebook.postgres.message_column import from_column
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.unit_of_work import SqlUnitOfWork
from prebook.rabbit.amqp_message import from_amqp
from prebook.rabbit.amqp_publisher.frame_decoder import ReturnedMessage
from prebook.rabbit.amqp_publisher.unconfirmed import PendingConfirm, UnconfirmedMessages
from prebook.rabbit.consumer import RabbitConsumer
from tests.coupling import test_every_coupling, test_inbound, test_sync_api
from tests.http import test_rider_callbacks
from tests.messaging.outbox import test_handoff, test_relay
from tests.operations import test_api, test_replay_runner
from tests.postgres import test_claim_on_insert, test_relays
from tests.traps import test_broker_client, test_database, test_relaying, test_retrying

Check = Callable[..., Coroutine[Any, Any, None]]
Seed = Callable[[pytest.MonkeyPatch], None]
ORDERING_KEY_OF = "prebook.operations.replays.sql.ordering_key_of"


@dataclass(frozen=True)
class Defect:
    """A mistake and the test that catches it.

    ``arguments``: arguments of the test that are not fixtures. ``hangs``: the defect makes the test hang.
    """

    name: str
    caught_by: Check
    seed: Seed
    arguments: Mapping[str, Any] = field(default_factory=dict)
    hangs: bool = False


def replace_attribute(target: object, name: str, value: object) -> Seed:
    """Return a seed that replaces an attribute."""
    return lambda patch: patch.setattr(target, name, value)


def _claim_without_order(patch: pytest.MonkeyPatch) -> None:
    """Let a unit of work claim its messages although earlier ones of the key are waiting."""
    unordered = flush.PART_STATEMENTS["enqueued"].replace("earlier.seq <> ALL", "false AND earlier.seq <> ALL")
    assert unordered != flush.PART_STATEMENTS["enqueued"]
    patch.setattr(flush, "PART_STATEMENTS", {**flush.PART_STATEMENTS, "enqueued": unordered})
    patch.setattr("prebook.postgres.unit_of_work.flush_statement", flush.flush_statement.__wrapped__)


def _cancel_pending(self: UnconfirmedMessages, _: str) -> None:
    """Cancel pending publishes, as the client library does when it detects a dead peer."""
    for pending in self._pending.values():
        pending.future.cancel()


def _do_nothing(*_: object) -> None:
    return None


def _confirm_at_once(self: UnconfirmedMessages, pending: PendingConfirm) -> None:
    self._tag += 1
    pending.future.set_result(None)


def _match_by_id(self: UnconfirmedMessages, returned: ReturnedMessage) -> None:
    """Match the latest message with the returned id, as the client library does."""
    matches = [pending for pending in self._pending.values() if pending.message_id == returned.message_id]
    matches[-1].returned = True


async def _acknowledge_first(self: RabbitConsumer, _: str, message: Any) -> None:
    await message.ack()
    await self._try_handle(decode(from_amqp(message)))


async def _leave_unsettled(self: RabbitConsumer, *_: Any) -> None:
    """Leave the message unacknowledged, as a plain callback that raises does."""


async def _pause_before_acknowledging(
    self: RabbitConsumer, _: str, message: Any, envelope: Envelope, __: Exception
) -> None:
    await asyncio.sleep(0.3)
    await self._try_handle(envelope)
    await message.ack()


async def _always_new(_: SqlUnitOfWork, __: Envelope) -> bool:
    return True


async def _check_then_act(self: SqlUnitOfWork, envelope: Envelope) -> bool:
    known = await self._fetch_scalar(text("SELECT 1 FROM inbox WHERE message_id = :id"), id=envelope.id)
    await self._execute(RECORD_MESSAGE, id=envelope.id, flow=envelope.flow, conversation_id=envelope.conversation_id)
    return not known


async def _record_in_separate_transaction(self: SqlUnitOfWork, envelope: Envelope) -> bool:
    """Record the message in a separate transaction."""
    row = {"id": envelope.id, "flow": envelope.flow, "conversation_id": envelope.conversation_id}
    async with self.connection.engine.begin() as separate:
        return bool((await separate.execute(RECORD_MESSAGE, row)).scalar())


async def _claim_after_cursor(self: SqlOutbox, limit: int, *, lease_s: float, full_routes: Collection[str]) -> Any:
    last = getattr(self, "last", 0)
    after = text("SELECT seq, route, message, ordering_key FROM outbox WHERE seq > :last ORDER BY seq LIMIT :limit")
    rows = await self._fetch_rows(after, last=last, limit=limit)
    vars(self)["last"] = max([last, *(row.seq for row in rows)])
    return [LeasedRow(r.seq, r.route, from_column(r.message), 0, r.ordering_key, 0) for r in rows]


def _remove_fencing(patch: pytest.MonkeyPatch) -> None:
    for name in ("RESCHEDULE", "ABANDON", "MARK_SENT"):
        statement = getattr(outboxes, name).text
        assert " AND claimed_by = :owner" in statement
        patch.setattr(outboxes, name, text(statement.replace("claimed_by = :owner", "(true OR claimed_by = :owner)")))


def _key_per_message(row: LeasedRow | OutboxMessage) -> tuple[str, str]:
    return row.route, row.envelope.id


async def _resolve_when_sent(self: ReplayRunner, redelivery: Redelivery) -> DeliveryOutcome:
    await self._ports.publisher.publish(
        redelivery.exchange, redelivery.routing_key, WireMessage(redelivery.headers, redelivery.payload)
    )
    return DeliveryOutcome(redelivery.dead_letter_id, RedeliveryState.RESOLVED)


async def _wait_for_ever(*_: object) -> None:
    await asyncio.Event().wait()


def _never_expired(_: Envelope, __: datetime) -> bool:
    return False


class _UnusedFailure(PermanentFailure):
    """A failure that no code raises."""


def _abandon_on_failure(patch: pytest.MonkeyPatch) -> None:
    """Abandon a row at its first failure, so that it is never sent again."""

    async def abandon(self: Sender, row: LeasedRow, failure: Exception) -> Any:
        assert isinstance(failure, Unreachable)
        await self._outbox.abandon(row, OutboxState.UNDELIVERABLE, "failed", str(failure))

    patch.setattr(Sender, "_handle_failure", abandon)


WITHOUT_SERVERS = (
    Defect(
        "attempts are not incremented",
        test_retrying.test_a_failing_message_is_parked_after_its_maximum_attempts,
        replace_attribute(Envelope, "next_attempt", lambda self: self),
    ),
    Defect(
        "a permanent failure is retried",
        test_retrying.test_a_permanent_failure_is_parked_at_once,
        lambda patch: patch.setattr("prebook.messaging.recoverability.decision.PermanentFailure", _UnusedFailure),
    ),
    Defect(
        "a new message does not wait for its key",
        test_handoff.test_a_message_waits_for_the_earlier_one_of_its_key,
        replace_attribute(KeyedQueue, "enqueue", lambda self, key: Ticket(self, key, predecessor=None, may_send=True)),
    ),
    Defect(
        "messages of one key are sent concurrently",
        test_relaying.test_trap_08_concurrent_deliveries_keep_the_order_of_each_key,
        lambda patch: patch.setattr("prebook.messaging.outbox.sender.QUEUE_KEY", _key_per_message),
    ),
    Defect(
        "few messages per poll",
        test_relaying.test_trap_10_a_backlog_is_sent_without_a_pause_per_message,
        lambda patch: patch.setattr("prebook.messaging.outbox.relay.MAX_CLAIMED_ROWS", 50),
    ),
    Defect(
        "no poll in addition to the notifications",
        test_database.test_the_poll_replaces_a_lost_notification,
        lambda patch: patch.setattr("prebook.messaging.outbox.relay.POLL_INTERVAL_S", 3600.0),
    ),
    Defect(
        "an expired message is sent",
        test_relay.test_an_expired_row_is_not_sent,
        replace_attribute(Envelope, "is_expired", _never_expired),
    ),
    Defect(
        "a lost connection cancels pending publishes",
        test_broker_client.test_a_lost_connection_fails_the_publish_and_does_not_cancel_it,
        replace_attribute(UnconfirmedMessages, "fail_all", _cancel_pending),
    ),
    Defect(
        "a confirm has no timeout",
        test_broker_client.test_a_missing_confirm_times_out,
        replace_attribute(UnconfirmedMessages, "fail_overdue", _do_nothing),
        hangs=True,
    ),
    Defect(
        "retries without a budget",
        test_sync_api.test_the_budget_bounds_retries_while_the_circuit_stays_closed,
        replace_attribute(RetryBudget, "allows_retry", property(lambda _: True)),
    ),
    Defect(
        "no deadline produces a timeout reply",
        test_every_coupling.test_a_request_without_a_reply_is_settled_by_its_deadline,
        lambda patch: patch.setattr("prebook.messaging.deadlines.Deadlines.run", _wait_for_ever),
        arguments={"coupling": Coupling.ONE_WAY},
        hangs=True,
    ),
    Defect(
        "a signature does not cover the body",
        test_inbound.test_a_forged_callback_is_refused_without_effect,
        lambda patch: patch.setattr("prebook.patterns.call_signature._signature", lambda *_: "same"),
        arguments={"tamper": "altered"},
    ),
    Defect(
        "private addresses are connected to",
        test_rider_callbacks.test_a_host_with_a_private_address_is_refused_when_connecting,
        lambda patch: patch.setattr("prebook.http.rider_callbacks.is_public_address", lambda _: True),
    ),
    Defect(
        "resolved addresses are not checked",
        test_rider_callbacks.test_a_host_with_a_private_address_is_refused_when_connecting,
        lambda patch: patch.setattr("prebook.http.client._CheckedResolver", lambda _: ThreadedResolver()),
    ),
)
DATABASE = (
    Defect(
        "no inbox",
        test_database.test_forty_concurrent_deliveries_of_one_message_have_one_effect,
        replace_attribute(SqlUnitOfWork, "record_message", _always_new),
    ),
    Defect(
        "the inbox is read first and written later",
        test_database.test_forty_concurrent_deliveries_of_one_message_have_one_effect,
        replace_attribute(SqlUnitOfWork, "record_message", _check_then_act),
    ),
    Defect(
        "the inbox commits separately from the effect",
        test_database.test_a_rolled_back_message_is_not_in_the_inbox,
        replace_attribute(SqlUnitOfWork, "record_message", _record_in_separate_transaction),
    ),
    Defect(
        "a cursor instead of a state",
        test_database.test_a_row_that_commits_late_is_still_sent,
        replace_attribute(SqlOutbox, "claim", _claim_after_cursor),
    ),
    Defect(
        "a new message overtakes a waiting one",
        test_claim_on_insert.test_a_row_behind_a_waiting_row_of_its_key_is_not_claimed,
        _claim_without_order,
    ),
    Defect("no fencing", test_relays.test_a_relay_cannot_change_a_row_leased_by_another, _remove_fencing),
    Defect(
        "failed rows are never sent again",
        test_relaying.test_trap_16_a_failed_row_is_sent_again,
        _abandon_on_failure,
    ),
    Defect(
        "a replay takes a sent message for a resolved one",
        test_replay_runner.test_a_redelivery_without_an_outcome_is_unconfirmed_and_can_be_replayed,
        replace_attribute(ReplayRunner, "_send", _resolve_when_sent),
    ),
    Defect(
        "a replay sends the messages of a conversation in parallel",
        test_replay_runner.test_one_message_of_a_conversation_is_in_flight_at_a_time,
        lambda patch: patch.setattr(ORDERING_KEY_OF, lambda candidate: f"message {candidate.id}"),
    ),
    Defect(
        "a message may be in two replays",
        test_api.test_each_message_is_in_one_live_replay_only,
        replace_attribute(
            eligibility,
            "INELIGIBILITY_RULES",
            eligibility.INELIGIBILITY_RULES[:1] + eligibility.INELIGIBILITY_RULES[2:],
        ),
    ),
)
BROKER = (
    Defect(
        "acknowledged before its effect",
        test_broker_client.test_an_unsettled_message_of_an_ended_consumer_goes_to_the_next_one,
        replace_attribute(RabbitConsumer, "_settle", _acknowledge_first),
    ),
    Defect(
        "returned messages are ignored",
        test_broker_client.test_an_unroutable_message_raises_undeliverable,
        replace_attribute(UnconfirmedMessages, "mark_returned", _do_nothing),
    ),
    Defect(
        "published without waiting for the confirm",
        test_broker_client.test_a_message_refused_by_a_full_queue_is_not_sent,
        replace_attribute(UnconfirmedMessages, "add", _confirm_at_once),
    ),
    Defect(
        "returned messages are matched by id alone",
        test_broker_client.test_concurrent_messages_with_one_id_have_separate_results,
        replace_attribute(UnconfirmedMessages, "mark_returned", _match_by_id),
    ),
    Defect(
        "a retry delay with the message unacknowledged",
        test_retrying.test_trap_11_a_retry_delay_occupies_no_prefetch_slot,
        replace_attribute(RabbitConsumer, "_recover", _pause_before_acknowledging),
    ),
    Defect(
        "a failure leaves its message unsettled",
        test_broker_client.test_every_concurrent_message_is_settled_though_every_handler_fails,
        replace_attribute(RabbitConsumer, "_recover", _leave_unsettled),
        hangs=True,
    ),
)
DEFECTS = (*WITHOUT_SERVERS, *DATABASE, *BROKER)
