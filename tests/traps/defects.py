"""Seeded defects: each is a mistake that somebody has made, put into our own code, and the test that catches it.

A proof that cannot fail proves nothing. What is replaced here is what stands in the way of the mistake.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
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
from tests.postgres import test_claiming_what_is_posted, test_relays
from tests.traps import test_broker_client, test_database, test_relaying, test_retrying

Check = Callable[..., Coroutine[Any, Any, None]]
Seed = Callable[[pytest.MonkeyPatch], None]
ORDERING_KEY_OF = "prebook.operations.replays.sql.ordering_key_of"


@dataclass(frozen=True)
class Defect:
    """``given``: the check's parameters that are no fixtures. ``hangs``: it shows by never coming to an end."""

    name: str
    caught_by: Check
    seed: Seed
    given: Mapping[str, Any] = field(default_factory=dict)
    hangs: bool = False


def put(target: object, name: str, value: object) -> Seed:
    return lambda patch: patch.setattr(target, name, value)


def _overtaking(patch: pytest.MonkeyPatch) -> None:
    """Whoever posts claims what it posts, whatever comes before it."""
    blind = flush.PART_STATEMENTS["enqueued"].replace("earlier.seq <> ALL", "false AND earlier.seq <> ALL")
    assert blind != flush.PART_STATEMENTS["enqueued"]
    patch.setattr(flush, "PART_STATEMENTS", {**flush.PART_STATEMENTS, "enqueued": blind})
    patch.setattr("prebook.postgres.unit_of_work.flush_statement", flush.flush_statement.__wrapped__)


def _waiters_cancelled(self: UnconfirmedMessages, _: str) -> None:
    """As the client library does it when it notices that its peer is gone."""
    for pending in self._pending.values():
        pending.future.cancel()


def _nothing(*_: object) -> None:
    return None


def _taken_for_confirmed(self: UnconfirmedMessages, pending: PendingConfirm) -> None:
    self._tag += 1
    pending.future.set_result(None)


def _by_id_alone(self: UnconfirmedMessages, told: ReturnedMessage) -> None:
    """As the client library does it: the latest of this id."""
    of_it = [pending for pending in self._pending.values() if pending.message_id == told.message_id]
    of_it[-1].returned = True


async def _acknowledged_first(self: RabbitConsumer, _: str, message: Any) -> None:
    await message.ack()
    await self._recovery.try_handle(decode(from_amqp(message)))


async def _never_settled(self: RabbitConsumer, *_: Any) -> None:
    """As a plain callback that raises: the message stays unacknowledged."""


async def _pausing_in_hand(self: RabbitConsumer, _: str, message: Any, envelope: Envelope, __: Exception) -> None:
    await asyncio.sleep(0.3)
    await self._recovery.try_handle(envelope)
    await message.ack()


async def _new(_: SqlUnitOfWork, __: Envelope) -> bool:
    return True


async def _looked_first(self: SqlUnitOfWork, envelope: Envelope) -> bool:
    known = await self._fetch_scalar(text("SELECT 1 FROM inbox WHERE message_id = :id"), id=envelope.id)
    await self._execute(RECORD_MESSAGE, id=envelope.id, flow=envelope.flow, conversation_id=envelope.conversation_id)
    return not known


async def _admitted_apart(self: SqlUnitOfWork, envelope: Envelope) -> bool:
    """In a transaction of its own."""
    row = {"id": envelope.id, "flow": envelope.flow, "conversation_id": envelope.conversation_id}
    async with self.connection.engine.begin() as own:
        return bool((await own.execute(RECORD_MESSAGE, row)).scalar())


async def _beyond_the_last(self: SqlOutbox, limit: int, *, lease_s: float, full_routes: Collection[str]) -> Any:
    last = getattr(self, "last", 0)
    after = text("SELECT seq, route, message, ordering_key FROM outbox WHERE seq > :last ORDER BY seq LIMIT :limit")
    rows = await self._fetch_rows(after, last=last, limit=limit)
    vars(self)["last"] = max([last, *(row.seq for row in rows)])
    return [LeasedRow(r.seq, r.route, from_column(r.message), 0, r.ordering_key, 0) for r in rows]


def _unfenced(patch: pytest.MonkeyPatch) -> None:
    for name in ("RESCHEDULE", "ABANDON", "MARK_SENT"):
        statement = getattr(outboxes, name).text
        assert " AND claimed_by = :owner" in statement
        patch.setattr(outboxes, name, text(statement.replace("claimed_by = :owner", "(true OR claimed_by = :owner)")))


def _each_its_own_key(row: LeasedRow | OutboxMessage) -> tuple[str, str]:
    return row.route, row.envelope.id


async def _resolved_when_sent(self: ReplayRunner, redelivery: Redelivery) -> DeliveryOutcome:
    await self._ports.publisher.publish(
        redelivery.exchange, redelivery.routing_key, WireMessage(redelivery.headers, redelivery.payload)
    )
    return DeliveryOutcome(redelivery.dead_letter_id, RedeliveryState.RESOLVED)


async def _never(*_: object) -> None:
    await asyncio.Event().wait()


def _unexpired(_: Envelope, __: datetime) -> bool:
    return False


class _Unheard(PermanentFailure):
    """Nothing is ever of this type."""


def _lost_for_good(patch: pytest.MonkeyPatch) -> None:
    """Who fails once waits for ever: nothing comes back to what was postponed."""

    async def forgotten(self: Sender, row: LeasedRow, failure: Exception) -> Any:
        assert isinstance(failure, Unreachable)
        await self._outbox.abandon(row, OutboxState.UNDELIVERABLE, "failed", str(failure))

    patch.setattr(Sender, "_handle_failure", forgotten)


NO_PARTS = (
    Defect(
        "attempts are not counted up",
        test_retrying.test_what_always_fails_is_parked_within_its_attempts,
        put(Envelope, "next_attempt", lambda self: self),
    ),
    Defect(
        "what can never work is tried again",
        test_retrying.test_what_can_never_work_is_parked_at_once,
        lambda patch: patch.setattr("prebook.messaging.recoverability.decision.PermanentFailure", _Unheard),
    ),
    Defect(
        "what is posted is taken for known before it is in line",
        test_handoff.test_a_message_waits_for_the_earlier_one_of_its_key,
        put(KeyedQueue, "enqueue", lambda self, key: Ticket(self, key, predecessor=None, may_send=True)),
    ),
    Defect(
        "messages of one key are sent side by side",
        test_relaying.test_trap_08_deliveries_side_by_side_keep_each_keys_order,
        lambda patch: patch.setattr("prebook.messaging.outbox.sender.QUEUE_KEY", _each_its_own_key),
    ),
    Defect(
        "few messages at each look",
        test_relaying.test_trap_10_a_backlog_leaves_without_a_pause_for_each_message,
        lambda patch: patch.setattr("prebook.messaging.outbox.relay.MAX_CLAIMED_ROWS", 50),
    ),
    Defect(
        "no poll beside the wake-ups",
        test_database.test_a_lost_wake_up_is_made_up_for_by_the_poll,
        lambda patch: patch.setattr("prebook.messaging.outbox.relay.POLL_INTERVAL_S", 3600.0),
    ),
    Defect(
        "what nobody waits for is sent",
        test_relay.test_an_expired_row_is_not_sent,
        put(Envelope, "is_expired", _unexpired),
    ),
    Defect(
        "a lost connection cancels who waits for a confirm",
        test_broker_client.test_a_confirm_that_does_not_come_as_the_connection_goes_is_a_failure_and_not_our_end,
        put(UnconfirmedMessages, "fail_all", _waiters_cancelled),
    ),
    Defect(
        "a confirm is waited for without end",
        test_broker_client.test_no_confirm_is_waited_for_without_end,
        put(UnconfirmedMessages, "fail_overdue", _nothing),
        hangs=True,
    ),
    Defect(
        "retries without a budget",
        test_sync_api.test_the_budget_bounds_retries_while_the_circuit_stays_closed,
        put(RetryBudget, "allows_retry", property(lambda _: True)),
    ),
    Defect(
        "no deadline answers for who is silent",
        test_every_coupling.test_a_request_without_a_reply_is_settled_by_its_deadline,
        lambda patch: patch.setattr("prebook.messaging.deadlines.Deadlines.run", _never),
        given={"coupling": Coupling.ONE_WAY},
        hangs=True,
    ),
    Defect(
        "a signature does not cover the body",
        test_inbound.test_a_forged_callback_is_refused_without_effect,
        lambda patch: patch.setattr("prebook.patterns.signature._digest", lambda *_: "same"),
        given={"tamper": "altered"},
    ),
    Defect(
        "private addresses are dialled",
        test_rider_callbacks.test_a_host_with_a_private_address_is_refused_when_connecting,
        lambda patch: patch.setattr("prebook.http.rider_callbacks.is_public_address", lambda _: True),
    ),
)
DATABASE = (
    Defect(
        "no inbox",
        test_database.test_forty_deliveries_of_one_message_at_once_have_one_effect,
        put(SqlUnitOfWork, "record_message", _new),
    ),
    Defect(
        "the inbox is looked at first and written later",
        test_database.test_forty_deliveries_of_one_message_at_once_have_one_effect,
        put(SqlUnitOfWork, "record_message", _looked_first),
    ),
    Defect(
        "the inbox commits apart from the effect",
        test_database.test_what_is_undone_is_not_known,
        put(SqlUnitOfWork, "record_message", _admitted_apart),
    ),
    Defect(
        "a cursor instead of a state",
        test_database.test_a_row_that_commits_late_is_sent_all_the_same,
        put(SqlOutbox, "claim", _beyond_the_last),
    ),
    Defect(
        "what is posted overtakes what waits",
        test_claiming_what_is_posted.test_what_waits_for_somebody_else_comes_first,
        _overtaking,
    ),
    Defect("no fencing", test_relays.test_a_relay_whose_row_another_one_holds_changes_nothing_about_it, _unfenced),
    Defect(
        "rows that failed are never looked at again",
        test_relaying.test_trap_16_what_failed_is_sent_again_by_somebody,
        _lost_for_good,
    ),
    Defect(
        "a replay takes a sent message for a resolved one",
        test_replay_runner.test_a_redelivery_without_an_outcome_is_unconfirmed_and_can_be_replayed,
        put(ReplayRunner, "_send", _resolved_when_sent),
    ),
    Defect(
        "a replay sends the messages of a conversation in parallel",
        test_replay_runner.test_one_message_of_a_conversation_is_in_flight_at_a_time,
        lambda patch: patch.setattr(ORDERING_KEY_OF, lambda candidate: f"message {candidate.id}"),
    ),
    Defect(
        "a message may be in two replays",
        test_api.test_each_message_is_in_one_live_replay_only,
        put(
            eligibility,
            "INELIGIBILITY_RULES",
            eligibility.INELIGIBILITY_RULES[:1] + eligibility.INELIGIBILITY_RULES[2:],
        ),
    ),
)
BROKER = (
    Defect(
        "acknowledged before its effect",
        test_broker_client.test_what_is_in_hand_when_a_consumer_goes_comes_to_the_next,
        put(RabbitConsumer, "_settle", _acknowledged_first),
    ),
    Defect(
        "what is returned is not looked at",
        test_broker_client.test_what_goes_nowhere_is_said_to_go_nowhere,
        put(UnconfirmedMessages, "mark_returned", _nothing),
    ),
    Defect(
        "published without waiting for the confirm",
        test_broker_client.test_what_a_full_queue_refuses_is_not_taken_for_sent,
        put(UnconfirmedMessages, "add", _taken_for_confirmed),
    ),
    Defect(
        "what is returned is told apart by its id alone",
        test_broker_client.test_two_messages_of_one_id_at_once_are_told_apart,
        put(UnconfirmedMessages, "mark_returned", _by_id_alone),
    ),
    Defect(
        "a pause with the message in hand",
        test_retrying.test_trap_11_a_pause_holds_no_prefetch_slot,
        put(RabbitConsumer, "_recover", _pausing_in_hand),
    ),
    Defect(
        "a failure leaves its message unsettled",
        test_broker_client.test_many_at_a_time_are_settled_each_even_where_every_handler_fails,
        put(RabbitConsumer, "_recover", _never_settled),
        hangs=True,
    ),
)
DEFECTS = (*NO_PARTS, *DATABASE, *BROKER)
