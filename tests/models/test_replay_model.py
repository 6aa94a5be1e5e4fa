"""Model of replays: two runners against the invariants of docs/architecture/dead-letters-and-replay.md.

Operations' API, runners and database are real; the machine plays the operator, the broker and the receivers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from prebook.contracts.dead_letters import DeadLetterState
from prebook.contracts.replays import RedeliveryState, ReplayState
from prebook.messaging import addresses
from prebook.messaging.clock import utc_now
from prebook.messaging.codec import WireMessage
from prebook.messaging.recoverability.dead_letter import DeadLetter
from prebook.operations.dead_letters.record import record_of
from tests.databases import Databases
from tests.models.machines import run_machine
from tests.models.replay_store import SERVICE, ReplayStore, RunnerKilled, Services, open_replay_store
from tests.operations.examples import QUEUE, headers, record_dead_letters
from tests.operations.receivers import WEEK_S

pytestmark = pytest.mark.timeout(600)  # a failure is shrunk to a small example, which takes minutes
RUNNERS = ("a", "b")
CONVERSATIONS = ("b", "c")
GONE_QUEUE = "pricing.requests.gone"
EVENT_TARGET = {"prebook_x_exchange": addresses.EVENTS, "prebook_x_routing_key": "event.booking_ended"}
FAULTS = ("down", "unroutable", "confirm_lost", "killed")
ENDED = frozenset({ReplayState.DONE, ReplayState.STOPPED, ReplayState.CANCELLED})
SETTLE_STEPS = 60
TRANSITIONS = {
    RedeliveryState.REQUESTED: {RedeliveryState.IN_FLIGHT, RedeliveryState.BLOCKED, RedeliveryState.CANCELLED},
    RedeliveryState.IN_FLIGHT: {
        RedeliveryState.RESOLVED,
        RedeliveryState.REFUSED,
        RedeliveryState.FAILED_AGAIN,
        RedeliveryState.UNCONFIRMED,
        RedeliveryState.CANCELLED,
    },
}
"""States of a redelivery, as the page draws them. The states without successors are final."""
flags = st.booleans()
rarely = st.sampled_from([False, False, False, True])
parked_letters = st.fixed_dictionaries(
    {
        "conversation": st.sampled_from(CONVERSATIONS),
        "minutes": st.integers(0, 5),
        "is_event": rarely,
        "is_old": rarely,
        "is_consumed": rarely.map(lambda is_gone: not is_gone),
    }
)


@dataclass
class Letter:
    """A dead letter of the model. ``occurred_at``: its event time."""

    id: int
    message_id: str
    queue: str
    conversation: str
    occurred_at: datetime
    is_event: bool
    letter: DeadLetter


@dataclass(frozen=True)
class Started:
    """A replay as it was started: what was selected, what was eligible then, in order, and what the replay took."""

    eligible: Sequence[int]
    chosen: Sequence[int]
    reported_ineligible: int
    selected: int


class ReplayMachine(RuleBasedStateMachine):
    def __init__(self, store: ReplayStore) -> None:
        super().__init__()
        self.store = store
        store.clear()
        self.services = Services()
        self.runners = {name: store.make_runner(self.services, name) for name in RUNNERS}
        self.letters: dict[int, Letter] = {}
        self.started: dict[str, Started] = {}
        self.handled = 0
        self.received = 0
        self.occurrences: dict[int, int] = {}
        self.seen = store.read()
        self.history = [self.seen]
        self.is_settled = False

    # Dead letters

    @initialize(data=st.data(), letters=st.lists(parked_letters, min_size=3, max_size=5), force=flags)
    def park_first(self, data: st.DataObject, letters: list[dict[str, Any]], *, force: bool) -> None:
        """Start with a few dead letters, and with a replay of them."""
        for letter in letters:
            self.park(letter)
        self.start(data, force=force)

    @rule(letter=parked_letters)
    def park(self, letter: dict[str, Any]) -> None:
        """Record a new dead letter."""
        age = timedelta(minutes=10 - letter["minutes"]) + timedelta(seconds=2 * WEEK_S * letter["is_old"])
        occurred_at = utc_now() - age
        conversation = letter["conversation"]
        is_event = letter["is_event"]
        number = len(self.letters)
        queue = QUEUE if letter["is_consumed"] else GONE_QUEUE
        changes = {"ce_id": f"m{number}", "ce_subject": conversation, "ce_time": occurred_at.isoformat()}
        target = EVENT_TARGET if is_event else {}
        parked = DeadLetter(queue, headers(number, **changes, **target), b"{}", parked_at=utc_now())
        (found,) = self.store.run(record_dead_letters(self.store.begin, parked, now=utc_now()))
        self.letters[found] = Letter(found, f"m{number}", queue, conversation, occurred_at, is_event, parked)
        self.occurrences[found] = 1
        self._look()

    @precondition(lambda self: self._with_state(DeadLetterState.PARKED))
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        """Discard a parked letter."""
        found = data.draw(st.sampled_from(self._with_state(DeadLetterState.PARKED)))
        self.store.run(self.store.discard(found))
        self._look()

    @precondition(lambda self: self._with_state(DeadLetterState.DISCARDED))
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        """Park a discarded letter again."""
        found = data.draw(st.sampled_from(self._with_state(DeadLetterState.DISCARDED)))
        self.store.run(self.store.restore(found))
        self._look()

    @precondition(lambda self: self.letters)
    @rule(data=st.data())
    def fail_outside_replays(self, data: st.DataObject) -> None:
        """Record another occurrence of a dead letter, and the same one once more, as the broker may."""
        letter = self.letters[data.draw(st.sampled_from(list(self.letters)))]
        self.handled += 1
        again = replace(letter.letter, headers={**letter.letter.headers, "prebook-attempt": str(5 + self.handled)})
        for _ in range(2):
            self.store.run(self._record(again))
        self.occurrences[letter.id] += 1
        self._look()

    # Replays

    @precondition(lambda self: self.letters)
    @rule(data=st.data(), by_filter=flags, force=flags, keep_going=flags)
    def start_replay(self, data: st.DataObject, *, by_filter: bool, force: bool, keep_going: bool) -> None:
        """Start a replay of parked letters by filter, or of any by their ids."""
        self.start(data, by_filter=by_filter, force=force, keep_going=keep_going)

    def start(
        self, data: st.DataObject, *, by_filter: bool = True, force: bool = False, keep_going: bool = True
    ) -> None:
        self.is_settled = False
        parked = self._with_state(DeadLetterState.PARKED)
        ids = st.lists(st.sampled_from(list(self.letters)), min_size=1, max_size=4, unique=True)
        selected = parked if by_filter else data.draw(ids)
        selection: dict[str, object] = {"where": {}} if by_filter else {"ids": selected}
        body = {"selection": selection, "force": force, "keep_going": keep_going}
        response = self.store.run(self.store.client.post("/v1/replays", json=body))
        eligible = self._eligible([found for found in selected if found in parked], force=force)
        if response.status_code == 409:
            assert not eligible, response.text
            return
        view = response.json()
        self._look()
        chosen = [item.dead_letter_id for item in self.seen.items if item.replay_id == view["id"]]
        ineligible = sum(group["messages"] for group in view["ineligible"])
        self.started[view["id"]] = Started(eligible, chosen, ineligible, len(selected))

    def _eligible(self, ids: Sequence[int], *, force: bool) -> list[int]:
        """Return the ids that may be replayed, by a plain reading of the rule, in the order of event times."""
        oldest = utc_now() - timedelta(seconds=WEEK_S)
        letters = [self.letters[found] for found in ids]
        found = [each for each in letters if each.queue == QUEUE and (force or each.occurred_at >= oldest)]
        return [letter.id for letter in sorted(found, key=lambda letter: (letter.occurred_at, letter.id))]

    @rule(runner=st.sampled_from(RUNNERS), handled=st.lists(st.sampled_from([True, True, False]), max_size=4))
    def work(self, runner: str, handled: list[bool]) -> None:
        """Let a runner make a step whenever the receivers have handled what arrived, or failed to (``handled``)."""
        self.store.run(self.store.end_leases())
        self._advance(runner)
        for is_handled in handled:
            self.store.run(self._receive_all(is_handled=is_handled))
            self._advance(runner)
        self._look()

    @rule(runner=st.sampled_from(RUNNERS), steps=st.integers(1, 3), fault=st.sampled_from(["", "", "", *FAULTS]))
    def advance(self, runner: str, steps: int, fault: str) -> None:
        """Let a runner make steps; the broker may fail, or the runner's process may end on the way."""
        self.services.fault = fault
        for _ in range(steps):
            self._advance(runner)
        self.services.fault = ""
        self._look()

    @rule(runner=st.sampled_from(RUNNERS), fault=st.sampled_from(["", *FAULTS]), is_handled=flags)
    def overtake(self, runner: str, fault: str, *, is_handled: bool) -> None:
        """Let a runner be so slow that its lease ends, while the other one and the receivers work."""
        other = next(name for name in RUNNERS if name != runner)

        async def meanwhile() -> None:
            await self.store.end_leases()
            await self.runners[other].run_once()
            await self._receive_all(is_handled=is_handled)
            await self.runners[other].run_once()

        self.services.slow_runner = runner
        self.services.slow_fault = fault
        self.services.meanwhile = meanwhile
        self.store.run(self.store.end_leases())
        self._advance(runner)
        self.services.slow_runner = ""
        self._look()

    @rule()
    def end_leases(self) -> None:
        """Let the leases of runners that are gone end, so that another one resumes."""
        self.store.run(self.store.end_leases())

    @precondition(lambda self: self._open_replays())
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        replay_id = data.draw(st.sampled_from(self._open_replays()))
        response = self.store.run(self.store.client.delete(f"/v1/replays/{replay_id}"))
        assert response.status_code == 200, response.text
        self._look()

    @rule()
    def wait_long(self) -> None:
        """Wait until what was sent is unconfirmed."""
        self.store.run(self.store.age_sent())

    # Receivers

    @precondition(lambda self: self.services.sent)
    @rule(data=st.data(), is_handled=flags, copies=st.integers(1, 2))
    def receive(self, data: st.DataObject, copies: int, *, is_handled: bool) -> None:
        """Deliver a replayed message, perhaps twice: the receiver's inbox records it, or it is parked again."""
        sent = data.draw(st.sampled_from(self.services.sent))
        for _ in range(copies):
            self.store.run(self._receive(sent.wire, is_handled=is_handled))
        self._look()

    @rule()
    def settle(self) -> None:
        """Let everything succeed from now on, until no replay is running."""
        for _ in range(SETTLE_STEPS):
            self.store.run(self.store.end_leases())
            self._advance("a")
            self.received = 0
            self.store.run(self._receive_all(is_handled=True))
            self._look()
            if not self._open_replays():
                break
        self.is_settled = True

    def _advance(self, runner: str) -> None:
        self.is_settled = False
        try:
            self.store.run(self.runners[runner].run_once())
        except RunnerKilled:
            self.store.run(self.store.finish_tasks())

    async def _receive_all(self, *, is_handled: bool) -> None:
        """Deliver all messages that have not been delivered yet."""
        for sent in self.services.sent[self.received :]:
            await self._receive(sent.wire, is_handled=is_handled)
        self.received = len(self.services.sent)

    async def _receive(self, wire: WireMessage, *, is_handled: bool) -> None:
        name = wire.headers["ce-id"]
        if is_handled or name in self.services.inbox:
            self.services.inbox.setdefault(name, utc_now())
            return
        failure = {"prebook-x-cause": "again", "prebook-x-error": "RuntimeError: again", "prebook-attempt": "5"}
        letter = DeadLetter(QUEUE, {**wire.headers, **failure}, wire.body, parked_at=self._parked_at(wire))
        if await self._record(letter):
            self.occurrences[_redelivery_of(wire)[1]] += 1

    def _parked_at(self, wire: WireMessage) -> datetime:
        """Return one time for each replayed message: two deliveries of it are one occurrence."""
        return self.letters[_redelivery_of(wire)[1]].occurred_at + timedelta(seconds=1)

    async def _record(self, letter: DeadLetter) -> bool:
        async with self.store.begin() as work:
            return await work.add_dead_letter(record_of(letter, utc_now()))

    def _look(self) -> None:
        self.seen = self.store.read()
        self.history.append(self.seen)

    def _with_state(self, state: DeadLetterState) -> list[int]:
        return [found for found, each in self.seen.dead_letters.items() if each is state]

    def _open_replays(self) -> list[str]:
        return [found for found, state in self.seen.replays.items() if state not in ENDED]

    # Invariants

    @invariant()
    def a_message_is_in_at_most_one_live_replay(self) -> None:
        """Invariant 3: "A message is in at most one live replay"; it is ``replaying`` as long as it is."""
        live = [item.dead_letter_id for item in self.seen.items if item.state in TRANSITIONS]
        assert len(live) == len(set(live))
        replaying = {found for found, state in self.seen.dead_letters.items() if state is DeadLetterState.REPLAYING}
        assert replaying == set(live)

    @invariant()
    def a_replay_has_a_fixed_set(self) -> None:
        """Invariant 4: "A replay has a fixed set of dead letters. Messages parked later do not join it"."""
        for replay_id, started in self.started.items():
            assert [item.dead_letter_id for item in self.seen.items if item.replay_id == replay_id] == started.chosen

    @invariant()
    def a_replay_takes_what_is_eligible_and_nothing_else(self) -> None:
        """Eligibility: "the one rule for dead letters, archive and outbox", with the checks of dead letters."""
        for started in self.started.values():
            assert started.chosen == started.eligible
            assert started.reported_ineligible == started.selected - len(started.eligible)

    @invariant()
    def a_resolved_message_is_in_its_inbox(self) -> None:
        """Invariant 5: "A message is resolved only when the receiver's inbox holds it; sending it is not enough"."""
        resolved = {item.dead_letter_id for item in self.seen.items if item.state is RedeliveryState.RESOLVED}
        resolved |= {found for found, state in self.seen.dead_letters.items() if state is DeadLetterState.RESOLVED}
        assert {self.letters[found].message_id for found in resolved} <= set(self.services.inbox)

    @invariant()
    def a_redelivery_changes_by_its_transitions(self) -> None:
        """Invariant 6: "Every update names the state that it leaves", so no runner undoes another's work."""
        for before, after in zip(self.history, self.history[1:], strict=False):
            states = {(item.replay_id, item.dead_letter_id): item.state for item in after.items}
            for item in before.items:
                assert states[item.replay_id, item.dead_letter_id] in _reachable(item.state), item

    @invariant()
    def one_redelivery_of_a_key_is_in_flight_and_in_order(self) -> None:
        """Invariant 7: "One redelivery per ordering key is in flight at a time, in the order of event times; a failure
        blocks the later ones".
        """
        waiting = {RedeliveryState.REQUESTED, RedeliveryState.BLOCKED, RedeliveryState.CANCELLED}
        for replay_id in self.started:
            for key in {item.key for item in self.seen.items}:
                states = [item.state for item in self.seen.items if (item.replay_id, item.key) == (replay_id, key)]
                dispatched = [state for state in states if state not in waiting]
                assert states[: len(dispatched)] == dispatched
                assert set(dispatched[:-1]) <= {RedeliveryState.RESOLVED}

    @invariant()
    def a_message_is_sent_once_in_a_replay(self) -> None:
        """States of a redelivery: one that was sent and confirmed is not sent again by the same replay."""
        confirmed = [_redelivery_of(sent.wire) for sent in self.services.sent if sent.is_confirmed]
        assert len(confirmed) == len(set(confirmed))
        items = {(item.replay_id, item.dead_letter_id) for item in self.seen.items}
        assert {_redelivery_of(sent.wire) for sent in self.services.sent} <= items

    @invariant()
    def a_redelivery_is_the_original_message(self) -> None:
        """Invariant 8: "A redelivery keeps id, conversation, ordering key and event time. Attempt and expiry are
        reset".
        """
        for sent in self.services.sent:
            replayed = sent.wire.headers
            original = self.letters[_redelivery_of(sent.wire)[1]].letter.headers
            for name in ("ce-id", "ce-subject", "ce-time", "ce-type"):
                assert replayed[name] == original[name]
            assert replayed["prebook-attempt"] == "1"
            assert "prebook-expires-at" not in replayed

    @invariant()
    def an_event_goes_to_the_queue_in_which_it_failed(self) -> None:
        """Invariant 9: "A replayed event goes only to the queue in which it failed"."""
        for sent in self.services.sent:
            is_event = self.letters[_redelivery_of(sent.wire)[1]].is_event
            expected = (addresses.REDELIVER, QUEUE) if is_event else (addresses.REQUESTS, "quote_fare")
            assert sent.target == expected

    @invariant()
    def an_occurrence_is_recorded_once(self) -> None:
        """Invariant 1: "An occurrence that is delivered twice is recorded once"."""
        assert self.seen.times_parked == self.occurrences

    @invariant()
    def every_replay_ends(self) -> None:
        """States of a replay: each ends once none of its redeliveries is live, and no message is lost on the way."""
        if self.is_settled:
            assert set(self.seen.replays.values()) <= ENDED
            assert [item for item in self.seen.items if item.state in TRANSITIONS] == []
            assert set(self.seen.dead_letters) == set(self.letters)


def _redelivery_of(wire: WireMessage) -> tuple[str, int]:
    return wire.headers["prebook-x-replay-id"], int(wire.headers["prebook-x-dead-letter-id"])


def _reachable(state: RedeliveryState) -> set[RedeliveryState]:
    return {state}.union(*(_reachable(each) for each in TRANSITIONS.get(state, ())))


def test_replays_keep_their_invariants(databases: Databases, pytestconfig: pytest.Config) -> None:
    with open_replay_store(databases.create_for(SERVICE)) as store:
        run_machine(lambda: ReplayMachine(store), pytestconfig, examples=120, steps=15)
