"""Model of ordering: two replicas against the invariants of docs/architecture/ordering-and-blocked-keys.md.

The key sequencers and the store are real; the machine plays the broker, the handler and the operator. What happened is
kept in logs (``attempts``, ``deliveries``, ``steps``), and the invariants judge it after each rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Unreachable
from prebook.messaging.observer import NullObserver
from prebook.messaging.policy import FlowPolicy
from prebook.messaging.recoverability.blocked_keys import BlockStatus
from prebook.messaging.recoverability.key_sequencer import MAX_CONCURRENT_KEYS, KeySequencer
from prebook.patterns.message_groups import OnPoison
from tests.databases import Databases
from tests.messaging.sequenced_receiver import GROUP, Poison, message_of
from tests.models.machines import run_machine
from tests.models.ordering_stores import (
    SERVICE,
    BlockedMessage,
    OrderingStore,
    UnreliableBlockedKeys,
    open_memory_store,
    open_sql_store,
)

pytestmark = pytest.mark.timeout(600)  # a failure is shrunk to a small example, which takes minutes
KEYS = ("k", "m")
MAX_ATTEMPTS = 3
BACKOFF_S = 10.0
SETTLE_ROUNDS = 60
MIN_MESSAGES_TO_SETTLE = 4
FAULTS = ("read_status", "block", "unblock", "list_waiting", "find_next_due", "dead_letter")
ERRORS = {"transient": RuntimeError("out of order"), "poison": Poison("no"), "outage": Unreachable("away")}
outcomes = st.lists(st.sampled_from(["handled", *ERRORS]), max_size=2)
overlaps = st.sampled_from(["", "", "retry", "deliver"])
faults = st.sampled_from(["", "", "", *FAULTS])


@dataclass(frozen=True)
class Attempt:
    """A call of the handler. ``blocked``: the blocked messages of the key at that moment; ``overlaps``: rule during
    which the other replica made it."""

    name: str
    number: int
    outcome: str
    blocked: Sequence[BlockedMessage]
    overlaps: str


@dataclass(frozen=True)
class Delivery:
    """A delivery that has ended. ``before``, ``after``: the blocked messages of its key; ``is_overlapped``: whether the
    other replica worked on the key in between."""

    name: str
    is_acknowledged: bool
    attempts: Sequence[Attempt]
    before: Sequence[BlockedMessage]
    after: Sequence[BlockedMessage]
    fault: str
    is_overlapped: bool


@dataclass(frozen=True)
class Step:
    """A rule that concerned one key: all blocked messages before and after it."""

    key: str
    before: Sequence[BlockedMessage]
    after: Sequence[BlockedMessage]


class OrderingMachine(RuleBasedStateMachine):
    def __init__(self, store: OrderingStore) -> None:
        super().__init__()
        self.store = store
        store.clear()
        self.views = [UnreliableBlockedKeys(store.open_view()) for _ in range(2)]
        self.fault = ""
        self.published = dict.fromkeys(KEYS, 0)
        self.unacknowledged: dict[str, list[Envelope]] = {key: [] for key in KEYS}
        self.messages: dict[str, Envelope] = {}
        self.outcomes: list[str] = []
        self.rule = ""
        self.meanwhile = ""
        self.overlaps = ""
        self.blocked: Sequence[BlockedMessage] = []
        self.attempts: list[Attempt] = []
        self.effects: list[str] = []
        self.dead_letters: list[str] = []
        self.acknowledged: set[str] = set()
        self.deliveries: list[Delivery] = []
        self.steps: list[Step] = []
        self.is_settled = False

    @initialize(on_poison=st.sampled_from(OnPoison), data=st.data())
    def start(self, on_poison: OnPoison, data: st.DataObject) -> None:
        """Start two replicas, and let the first message of a key fail."""
        policy = FlowPolicy(
            coupling=Coupling.ONE_WAY, max_attempts=MAX_ATTEMPTS, backoff_s=(BACKOFF_S,), on_poison=on_poison
        )
        self.on_poison = on_poison
        self.replicas = [self._make_replica(view, dict.fromkeys(FLOWS, policy)) for view in self.views]
        self._deliver("k", data.draw(st.sampled_from(["transient", "poison"])), replica=0)

    def _make_replica(self, blocked_keys: Any, policies: dict[str, FlowPolicy]) -> KeySequencer:
        return KeySequencer(
            {f"{GROUP}.0": GROUP},
            blocked_keys,
            self._handle,
            dead_letter=self._dead_letter,
            policies=policies,
            observer=NullObserver(),
        )

    # The receiver

    async def _handle(self, envelope: Envelope) -> None:
        outcome = self.outcomes.pop(0) if self.outcomes else "handled"
        blocked = [each for each in await self.store.read() if each.key == envelope.conversation_id]
        self.attempts.append(Attempt(envelope.id, envelope.attempt, outcome, blocked, self.overlaps))
        if meanwhile := self.meanwhile:
            self.meanwhile = ""
            await self._overlap(meanwhile, envelope.conversation_id)
        if outcome != "handled":
            raise ERRORS[outcome]
        if envelope.id not in self.effects:
            self.effects.append(envelope.id)

    async def _overlap(self, meanwhile: str, key: str) -> None:
        """Let the other replica work on the key during a call of the handler."""
        self.overlaps = self.rule
        if meanwhile == "retry":
            await self.replicas[1]._resume_key(GROUP, key)
        else:
            await self._process(self._next_unacknowledged(key), replica=1)
        self.overlaps = ""

    async def _dead_letter(self, group: str, envelope: Envelope, cause: str, error: Exception | None) -> None:
        del group, cause, error
        if self.fault == "dead_letter":
            self.fault = ""
            raise Unreachable("the broker is away")
        self.dead_letters.append(envelope.id)

    # Deliveries

    @rule(
        key=st.sampled_from(KEYS), results=outcomes, fault=faults, is_applied=st.booleans(), replica=st.integers(0, 1)
    )
    def deliver(self, key: str, results: list[str], fault: str, replica: int, *, is_applied: bool) -> None:
        """Deliver the unacknowledged message again, or the next one."""
        self._deliver(key, *results, replica=replica, fault=fault, is_applied=is_applied)

    @precondition(lambda self: self.blocked)
    @rule(data=st.data(), results=outcomes, fault=faults, is_applied=st.booleans(), meanwhile=overlaps)
    def deliver_blocked(
        self, data: st.DataObject, results: list[str], fault: str, meanwhile: str, *, is_applied: bool
    ) -> None:
        """Deliver a blocked message: a waiting one is a duplicate, a parked one is replayed."""
        name = data.draw(st.sampled_from([each.name for each in self.blocked]))
        key = self.messages[name].conversation_id
        self._begin_step("replay", key, results, fault, meanwhile, is_applied=is_applied)
        self.store.run(self._process(self.messages[name], replica=0))
        self._end_step()

    @precondition(lambda self: self.acknowledged)
    @rule(data=st.data())
    def deliver_twice(self, data: st.DataObject) -> None:
        """Deliver an acknowledged message again, as after a crash before the acknowledgement."""
        name = data.draw(st.sampled_from(sorted(self.acknowledged)))
        self._begin_step("replay", self.messages[name].conversation_id)
        self.store.run(self._process(self.messages[name], replica=1))
        self._end_step()

    @precondition(lambda self: self.blocked)
    @rule(
        results=outcomes,
        fault=faults,
        is_applied=st.booleans(),
        meanwhile=overlaps,
        seconds=st.sampled_from([0.0, 2 * BACKOFF_S]),
    )
    def retry(self, results: list[str], fault: str, meanwhile: str, seconds: float, *, is_applied: bool) -> None:
        """Retry what is due, as ``KeySequencer.run`` does, while the other replica may work on the same key."""
        self.store.move_clock(seconds)
        for key in self._due_keys():
            self._begin_step("retry", key, results, fault, meanwhile, is_applied=is_applied)
            self.store.run(self._resume(key))
            self._end_step()

    @precondition(lambda self: self._parked())
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """Release the parked messages of a key."""
        key = data.draw(st.sampled_from(self._parked())).key
        self._begin_step("release", key)
        self.store.run(self.store.release(key))
        self._end_step()

    @precondition(lambda self: len(self.messages) >= MIN_MESSAGES_TO_SETTLE)
    @rule()
    def settle(self) -> None:
        """Let everything succeed from now on: retry what waits and replay what is parked."""
        for key in KEYS:
            while self.unacknowledged[key]:
                self._deliver(key)
        for _ in range(SETTLE_ROUNDS):
            self.retry([], "", "", 2 * BACKOFF_S, is_applied=False)
            if parked := self._parked():
                self._begin_step("replay", parked[0].key)
                self.store.run(self._process(self.messages[parked[0].name], replica=0))
                self._end_step()
            if not self.blocked:
                break
        self.is_settled = True

    def _deliver(self, key: str, *results: str, replica: int = 0, fault: str = "", is_applied: bool = False) -> None:
        self._begin_step("deliver", key, results, fault, is_applied=is_applied, replica=replica)
        self.store.run(self._process(self._next_unacknowledged(key), replica=replica))
        self._end_step()

    def _next_unacknowledged(self, key: str) -> Envelope:
        if not self.unacknowledged[key]:
            envelope = message_of(key, self.published[key])
            self.published[key] += 1
            self.messages[envelope.id] = envelope
            self.unacknowledged[key].append(envelope)
        return self.unacknowledged[key][0]

    async def _process(self, envelope: Envelope, *, replica: int) -> None:
        """Process a delivery, and acknowledge it unless it must stay unacknowledged."""
        key = envelope.conversation_id
        before = await self._read_key(key)
        attempts = len(self.attempts)
        meanwhile = self.meanwhile
        fault = self.fault or self.views[replica].fault
        is_acknowledged = True
        try:
            async with self.replicas[replica].wait_turn(GROUP, key):
                await self.replicas[replica].process_or_hold(GROUP, envelope)
        except Unreachable:
            is_acknowledged = False
        else:
            self.acknowledged.add(envelope.id)
            self.unacknowledged[key] = [each for each in self.unacknowledged[key] if each.id != envelope.id]
        after = await self._read_key(key)
        made = tuple(self.attempts[attempts:])
        is_overlapped = meanwhile != self.meanwhile
        self.deliveries.append(Delivery(envelope.id, is_acknowledged, made, before, after, fault, is_overlapped))

    async def _resume(self, key: str) -> None:
        try:
            await self.replicas[0]._resume_key(GROUP, key)
        except Unreachable:
            return

    def _due_keys(self) -> list[str]:
        due = self.store.run(self.store.open_view().list_due_keys(MAX_CONCURRENT_KEYS))
        return [key for _, key in due]

    def _begin_step(
        self,
        rule_name: str,
        key: str,
        results: Sequence[str] = (),
        fault: str = "",
        meanwhile: str = "",
        *,
        is_applied: bool = False,
        replica: int = 0,
    ) -> None:
        self.rule = rule_name
        self.steps.append(Step(key, self.blocked, self.blocked))
        self.outcomes = list(results)
        self.meanwhile = meanwhile
        self.fault = "dead_letter" if fault == "dead_letter" else ""
        self.views[replica].fault = fault if fault != "dead_letter" else ""
        self.views[replica].is_applied = is_applied
        self.is_settled = False

    def _end_step(self) -> None:
        self.blocked = self.store.run(self.store.read())
        self.steps[-1] = replace(self.steps[-1], after=self.blocked)
        self.outcomes = []
        self.meanwhile = ""
        self.overlaps = ""
        self.fault = ""
        for view in self.views:
            view.fault = ""

    def _parked(self) -> list[BlockedMessage]:
        return [each for each in self.blocked if each.status is BlockStatus.PARKED]

    async def _read_key(self, key: str) -> Sequence[BlockedMessage]:
        return [each for each in await self.store.read() if each.key == key]

    # Invariants

    @invariant()
    def no_message_is_handled_while_an_earlier_one_is_blocked(self) -> None:
        """Invariant 1: "While a message of a key is blocked, no later message of the key is handled, except a replay of
        a parked message".
        """
        for attempt in self.attempts:
            names = [each.name for each in attempt.blocked]
            parked = [each.name for each in attempt.blocked if each.status is BlockStatus.PARKED]
            assert not names or attempt.name in (names[0], *parked), attempt

    @invariant()
    def effects_follow_the_order_of_delivery(self) -> None:
        """Invariants 1 and 6: "Order per key", also with two replicas; only a dead letter may take effect later."""
        for key in KEYS:
            in_order = [f"{key}-{number}" for number in range(self.published[key])]
            effects = [name for name in self.effects if self.messages[name].conversation_id == key]
            kept = [name for name in effects if name not in self.dead_letters]
            assert kept == [name for name in in_order if name in kept]

    @invariant()
    def a_key_that_is_not_blocked_is_handled_at_once(self) -> None:
        """Invariant 2: "A failure blocks its key and no other"."""
        for delivery in self.deliveries:
            assert delivery.before or delivery.fault or delivery.attempts, delivery
        for step in self.steps:
            others = [each for each in step.before if each.key != step.key]
            assert others == [each for each in step.after if each.key != step.key], step

    @invariant()
    def a_later_message_waits_or_is_parked_behind_the_last_one(self) -> None:
        """A delivery, step 3: "If the message is not blocked but its key is, block or park it behind the last one"."""
        for delivery in self.deliveries:
            is_later = delivery.before and delivery.name not in [each.name for each in delivery.before]
            if is_later and delivery.is_acknowledged and not delivery.fault:
                is_parked = self.on_poison is OnPoison.PARK and delivery.before[-1].status is BlockStatus.PARKED
                expected = BlockStatus.PARKED if is_parked else BlockStatus.WAITING
                assert (delivery.after[-1].name, delivery.after[-1].status) == (delivery.name, expected), delivery

    @invariant()
    def an_acknowledged_message_is_durable(self) -> None:
        """Invariant 3: "Nothing is acknowledged before it is durable": it took effect, is blocked or dead-lettered."""
        kept = {*self.effects, *self.dead_letters, *(each.name for each in self.blocked)}
        assert self.acknowledged <= kept

    @invariant()
    def an_outage_costs_no_attempt(self) -> None:
        """Invariant 4: "Unreachable leaves the message, its attempt and its row unchanged"."""
        for delivery in self.deliveries:
            if [attempt.outcome for attempt in delivery.attempts] == ["outage"] and not delivery.is_overlapped:
                assert not delivery.is_acknowledged, delivery
                assert delivery.before == delivery.after, delivery

    @invariant()
    def a_position_is_never_lost(self) -> None:
        """Invariant 5: "A further block of a message updates its row and keeps its seq"."""
        for step in self.steps:
            after = [each.name for each in step.after]
            before = [each.name for each in step.before if each.name in after]
            if not any(attempt.overlaps for attempt in self.attempts):
                assert after[: len(before)] == before, step

    @invariant()
    def a_parked_message_is_a_dead_letter(self) -> None:
        """Invariant 7: "A dead letter precedes its row"."""
        parked = {each.name for each in self._parked()}
        assert parked <= set(self.dead_letters)

    @invariant()
    def a_key_is_retried_by_one_replica_at_a_time(self) -> None:
        """A scan: "Under the lock of a key it handles the messages in order"."""
        if self.store.locks_keys:
            assert [attempt for attempt in self.attempts if attempt.overlaps == "retry"] == []

    @invariant()
    def a_message_gets_its_attempts_and_no_more(self) -> None:
        """States of a message: retried until its last attempt, then parked."""
        assert all(1 <= attempt.number <= MAX_ATTEMPTS for attempt in self.attempts)
        assert all(each.attempt <= MAX_ATTEMPTS for each in self.blocked)

    @invariant()
    def every_message_takes_effect_or_is_a_dead_letter_in_the_end(self) -> None:
        """States of a message: every path ends in handled, or in a dead letter that an operator decides about."""
        if self.is_settled:
            assert self.blocked == []
            assert set(self.messages) - set(self.effects) <= set(self.dead_letters)


def test_ordering_in_memory_keeps_its_invariants(pytestconfig: pytest.Config) -> None:
    with open_memory_store() as store:
        run_machine(lambda: OrderingMachine(store), pytestconfig, examples=150, steps=25)


def test_ordering_on_postgresql_keeps_its_invariants(databases: Databases, pytestconfig: pytest.Config) -> None:
    with open_sql_store(databases.create_for(SERVICE)) as store:
        run_machine(lambda: OrderingMachine(store), pytestconfig, examples=100, steps=20)
