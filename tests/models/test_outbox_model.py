"""Model of the outbox: two relays and several writers against the invariants of docs/architecture/outbox-and-relay.md.

The machine plays the relays by their protocol (claim, track, send in order, record the outcome) and the store is real.
What the rules did is kept in logs (``leased``, ``claims``, ``sent``, ``written``), which the invariants judge.
"""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from prebook.messaging.errors import Undeliverable, Unreachable
from prebook.messaging.outbox.abandonment import abandon_reason
from prebook.messaging.outbox.handoff import Handoff
from prebook.messaging.outbox.leases import QueueKey
from prebook.messaging.outbox.store import ABANDONED_STATES, LeasedRow, OutboxState
from prebook.messaging.unit_of_work import OutboxMessage
from tests.databases import Databases, role_url
from tests.messaging.examples import request
from tests.models.machines import run_machine
from tests.models.outbox_stores import SERVICE, OpenWrite, OutboxStore, StoredRow, open_memory_store, open_sql_store

pytestmark = pytest.mark.timeout(600)  # a failure is shrunk to a small example, which takes minutes
RELAYS = ("a", "b")
KEYS: Sequence[QueueKey] = (("broker", "k"), ("http:pricing", "k"))
LEASE_S = 25.0
"""All other times are multiples of 10 s, so that a lease never ends in the same moment as something else."""
SEND_TIMEOUT_S = 15.0
DELAY_S = 60.0
RETRY_S = 30.0
TTL_S = 90.0
MAX_REFUSALS = 2
CLOCK_CORRECTION_S = 30.0
MIN_ROWS_TO_DRAIN = 5
DRAIN_S = 200.0
DRAIN_ROUNDS = 100
NEVER = float("-inf")
FAILURES = (Undeliverable("no"), Unreachable("away"))
flags = st.booleans()


@dataclass
class Row:
    """A committed row, as the model knows it. ``sends``: times that it was handed to its receiver."""

    seq: int
    key: QueueKey
    not_before: float
    is_delayed: bool
    expires_at: float | None
    leased_row: LeasedRow
    lease_owner: str = ""
    leased_until: float = NEVER
    state: str = OutboxState.WAITING
    failures: int = 0
    refusals: int = 0
    sends: int = 0
    was_abandoned: bool = False

    def is_leased(self, now: float) -> bool:
        return self.state == OutboxState.WAITING and self.leased_until > now

    def is_due(self, now: float) -> bool:
        return self.not_before <= now or not (self.is_delayed or self.failures)


@dataclass
class Tracked:
    """A row in a relay's queue. ``send_before``: loop time from when on a send could outlast the lease."""

    name: str
    send_before: float
    is_sent: bool = False


@dataclass
class RelayModel:
    """A relay: the rows that it tracks, in the order of its claims, and whether it may have leased others."""

    is_up: bool = True
    is_uncertain: bool = False
    tracked: list[Tracked] = field(default_factory=list)


@dataclass
class Write:
    """An open transaction. ``may_send``: no row of its key has failed since its rows got their place in the queue."""

    key: QueueKey
    names: Sequence[str]
    relay: str
    is_delayed: bool
    has_ttl: bool
    written_at: float
    send_before: float
    earlier: Sequence[Row]
    open_write: OpenWrite
    may_send: bool = True


@dataclass(frozen=True)
class Lease:
    """A lease as it was given: the row and the earlier ones of its key just before, and the rows the relay tracked."""

    relay: str
    at: float
    before: Row
    earlier: Sequence[Row]
    tracked: frozenset[int]
    is_handoff: bool

    @property
    def blockers(self) -> list[Row]:
        """Earlier rows that must leave first, as far as a claim is concerned."""
        waiting = [row for row in self.earlier if row.state == OutboxState.WAITING]
        return [
            row
            for row in waiting
            if (row.failures and row.not_before > self.at) or (row.is_leased(self.at) and not self._is_tracked(row))
        ]

    def _is_tracked(self, row: Row) -> bool:
        return row.seq in self.tracked and row.lease_owner == self.relay


class OutboxMachine(RuleBasedStateMachine):
    def __init__(self, store: OutboxStore) -> None:
        super().__init__()
        self.store = store
        store.clear()
        self.now = 0.0
        self.loop_time = 0.0
        self.rows: dict[str, Row] = {}
        self.relays = {name: RelayModel() for name in RELAYS}
        self.writes: list[Write] = []
        self.count = 0
        self.leased: list[Lease] = []
        self.claims: list[tuple[Sequence[int], Sequence[int]]] = []
        self.sent: list[tuple[int, Sequence[Row]]] = []
        self.written: list[tuple[str, Mapping[str, StoredRow], Mapping[str, StoredRow]]] = []
        self.is_drained = False

    # Writers

    @initialize(data=st.data())
    def write_first(self, data: st.DataObject) -> None:
        """Start with a few rows, so that no sequence is spent on an empty outbox."""
        for key in (*KEYS, KEYS[0]):
            if key in self._free_keys():
                self._write(data, key, 1)

    @precondition(lambda self: self._free_keys())
    @rule(data=st.data(), messages=st.integers(1, 2), is_delayed=st.sampled_from([False, False, True]), has_ttl=flags)
    def write(self, data: st.DataObject, messages: int, *, is_delayed: bool, has_ttl: bool) -> None:
        """Write rows under the lock of their key, and leave the transaction open if the store can."""
        key = data.draw(st.sampled_from(self._free_keys()))
        self._write(data, key, messages, is_delayed=is_delayed, has_ttl=has_ttl)

    def _write(
        self, data: st.DataObject, key: QueueKey, messages: int, *, is_delayed: bool = False, has_ttl: bool = False
    ) -> None:
        relay = data.draw(st.sampled_from(["", *self._running_relays()]))
        names = [f"m{self.count + n}" for n in range(messages)]
        self.count += messages
        delay = timedelta(seconds=DELAY_S if is_delayed else 0.0)
        postings = [OutboxMessage(request(id=name), *key, delay) for name in names]
        offered = {} if is_delayed or not relay else {each.envelope.id: each for each in postings}
        handoff = Handoff(relay, timedelta(seconds=LEASE_S), len(offered), offered, self._tracked_seqs(relay))
        earlier = self._rows_of(key)
        open_write = self.store.write(postings, handoff)
        send_before = self.loop_time + LEASE_S - SEND_TIMEOUT_S
        write = Write(key, names, relay, is_delayed, has_ttl, self.now, send_before, earlier, open_write)
        self.writes.append(write)
        if not self.store.keeps_writes_open or data.draw(flags):
            self._end(write, commit=True, is_known=True)

    @precondition(lambda self: self.writes)
    @rule(data=st.data(), commit=flags, is_known=flags)
    def end_write(self, data: st.DataObject, *, commit: bool, is_known: bool) -> None:
        """Commit or roll back; the writer may not learn which (``is_known``)."""
        self._end(data.draw(st.sampled_from(self.writes)), commit=commit, is_known=is_known)

    @precondition(lambda self: self._free_keys())
    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        """Write a row and roll back at once."""
        key = data.draw(st.sampled_from(self._free_keys()))
        messages = [OutboxMessage(request(id=f"rolled back {self.count}"), *key)]
        self.store.write(messages, Handoff()).end(commit=False)

    def _end(self, write: Write, *, commit: bool, is_known: bool) -> None:
        self.is_drained = False
        self.writes.remove(write)
        write.open_write.end(commit=commit)
        if write.relay and not is_known:
            self.relays[write.relay].is_uncertain = True
        if not commit:
            return
        handoff = write.open_write.handoff
        stored = self.store.read()
        tracked = frozenset(handoff.tracked)
        for name in write.names:
            row = self._new_row(name, write, stored[name].seq)
            if name in handoff.claimed:
                lease = Lease(write.relay, write.written_at, replace(row), write.earlier, tracked, is_handoff=True)
                self.leased.append(lease)
                row.lease_owner = write.relay
                row.leased_until = write.written_at + LEASE_S
            self.rows[name] = row
        if handoff.claimed and is_known:
            self._track_handed_off(write, [name for name in write.names if name in handoff.claimed])

    def _track_handed_off(self, write: Write, names: Sequence[str]) -> None:
        self.relays[write.relay].tracked += [Tracked(name, write.send_before) for name in names]
        if not write.may_send:
            self._release(write.relay, write.key)

    def _new_row(self, name: str, write: Write, seq: int) -> Row:
        return Row(
            seq=seq,
            key=write.key,
            not_before=write.written_at + (DELAY_S if write.is_delayed else 0.0),
            is_delayed=write.is_delayed,
            expires_at=write.written_at + TTL_S if write.has_ttl else None,
            leased_row=LeasedRow(seq, write.key[0], request(id=name), 0, write.key[1]),
        )

    # Relays

    @precondition(lambda self: self._running_relays())
    @rule(data=st.data(), limit=st.integers(1, 4), full_routes=st.sampled_from([[], [], ["broker"]]))
    def claim(self, data: st.DataObject, limit: int, full_routes: Sequence[str]) -> None:
        """Claim due rows."""
        relay = data.draw(st.sampled_from(self._running_relays()))
        self._claim(relay, limit, full_routes)

    @precondition(lambda self: self._running_relays())
    @rule(data=st.data())
    def lose_claim(self, data: st.DataObject) -> None:
        """Claim due rows without learning which: the relay has leases that it does not track."""
        relay = data.draw(st.sampled_from(self._running_relays()))
        self._claim(relay, 1, (), is_known=False)

    @rule(data=st.data(), relay=st.sampled_from(RELAYS), rows=st.integers(1, 3), is_marked=flags)
    def send(self, data: st.DataObject, relay: str, rows: int, *, is_marked: bool) -> None:
        """Send the first unsent rows of a relay, and perhaps mark them."""
        for _ in range(rows):
            if heads := self._find_heads(relay):
                self._send(*data.draw(st.sampled_from(heads)), failure=None)
        if is_marked:
            self._mark(relay)

    @rule(
        data=st.data(),
        relay=st.sampled_from(RELAYS),
        failure=st.sampled_from(FAILURES),
        is_last=flags,
        is_followed=flags,
    )
    def fail(self, data: st.DataObject, relay: str, failure: Exception, *, is_last: bool, is_followed: bool) -> None:
        """Fail to send the first or the last row that a relay tracks under a key.

        Perhaps a row of the key is written right after (``is_followed``), and a relay claims.
        """
        heads = self._find_heads(relay)
        if not heads:
            return
        _, key = data.draw(st.sampled_from(heads))
        while is_last and len(self._unsent(relay, key)) > 1:
            self._send(relay, key, failure=None)
        if self._unsent(relay, key):
            self._send(relay, key, failure=failure)
        if is_followed and key in self._free_keys():
            self._write(data, key, 1)
            self._claim(data.draw(st.sampled_from(self._running_relays())), 4, ())

    @precondition(lambda self: self._unmarked_relays())
    @rule(data=st.data())
    def mark(self, data: st.DataObject) -> None:
        """Mark the rows that a relay has sent."""
        self._mark(data.draw(st.sampled_from(self._unmarked_relays())))

    @precondition(lambda self: self._uncertain_relays())
    @rule(data=st.data())
    def resync(self, data: st.DataObject) -> None:
        """Release the leases that a relay does not track; a relay that was down starts with it."""
        self._resync(data.draw(st.sampled_from(self._uncertain_relays())))

    @precondition(lambda self: any(model.tracked for model in self.relays.values()))
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """End a relay's process: its queue is lost, and its leases stay."""
        relay = data.draw(st.sampled_from([name for name, model in self.relays.items() if model.tracked]))
        self.relays[relay] = RelayModel(is_up=False, is_uncertain=True)
        for write in [write for write in self.writes if write.relay == relay]:
            self._end(write, commit=False, is_known=False)

    @precondition(lambda self: self.rows)
    @rule(seconds=st.sampled_from([10.0, 30.0, 60.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds
        self.loop_time += seconds
        self.store.move_clock(seconds)

    @precondition(lambda self: len(self._running_relays()) == len(RELAYS))
    @rule(data=st.data(), relay=st.sampled_from(RELAYS), is_marked=flags)
    def overtake(self, data: st.DataObject, relay: str, *, is_marked: bool) -> None:
        """Let the leases of a slow relay end and the other relay claim its rows; the slow one may record its own."""
        self.send(data, relay, 1, is_marked=False)
        self.let_time_pass(LEASE_S + 5.0)
        for other in RELAYS:
            if other != relay:
                self._claim(other, 4, ())
        if is_marked:
            self._mark(relay)

    @precondition(lambda self: self.rows)
    @rule()
    def set_clock_back(self) -> None:
        """Set the clock of the database back; the relays measure their own time."""
        self.now -= CLOCK_CORRECTION_S
        self.store.move_clock(-CLOCK_CORRECTION_S)

    @precondition(lambda self: self.store.keeps_writes_open and self._abandoned())
    @rule(data=st.data())
    def resend(self, data: st.DataObject) -> None:
        """Make an abandoned row due again, as an operator does."""
        row = self.rows[data.draw(st.sampled_from(self._abandoned()))]
        self.store.resend(row.seq)
        row.state = OutboxState.WAITING
        row.expires_at = None
        row.failures = 0
        row.refusals = 0
        row.lease_owner = ""
        row.leased_until = NEVER
        row.is_delayed = False
        self.is_drained = False

    @precondition(lambda self: len(self.rows) >= MIN_ROWS_TO_DRAIN)
    @rule()
    def drain(self) -> None:
        """End every write and let both relays work until nothing waits."""
        for write in tuple(self.writes):
            self._end(write, commit=True, is_known=True)
        for relay in RELAYS:
            self._resync(relay)
        latest = max(row.not_before for row in self.rows.values())  # the clock may have been set back many times
        self.let_time_pass(max(latest - self.now, 0.0) + DRAIN_S)
        for _ in range(DRAIN_ROUNDS):
            for relay in RELAYS:
                self._claim(relay, 4, ())
                while heads := self._heads(relay):
                    self._send(*heads[0], failure=None)
                self._mark(relay)
            if all(row.state != OutboxState.WAITING for row in self.rows.values()):
                break
        self.is_drained = True

    def _claim(self, relay: str, limit: int, full_routes: Sequence[str], *, is_known: bool = True) -> None:
        model = self.relays[relay]
        tracked = self._tracked_seqs(relay)
        before = {name: replace(row) for name, row in self.rows.items()}
        claim = self.store.relay(relay).claim(limit, lease_s=LEASE_S, full_routes=full_routes, tracked=tracked)
        claimed = self.store.run(claim)
        expected = [row.seq for row in self._claimable(relay, tracked) if row.key[0] not in full_routes]
        self.claims.append((expected[:limit], [row.seq for row in claimed]))
        for found in claimed:
            name = found.envelope.id
            row = self.rows[name]
            assert (found.failures, found.refusals) == (row.failures, row.refusals)
            earlier = [each for each in before.values() if each.key == row.key and each.seq < row.seq]
            lease = Lease(relay, self.now, before[name], earlier, frozenset(tracked), is_handoff=False)
            self.leased.append(lease)
            row.lease_owner = relay
            row.leased_until = self.now + LEASE_S
            row.leased_row = found
            if is_known and found.seq not in tracked:
                model.tracked.append(Tracked(name, self.loop_time + LEASE_S - SEND_TIMEOUT_S))
        model.is_uncertain = model.is_uncertain or not is_known

    def _claimable(self, relay: str, tracked: Sequence[int]) -> list[Row]:
        """Return the rows that are due and free, without one before them that must leave first."""
        free = [row for row in self.rows.values() if row.is_due(self.now) and not row.is_leased(self.now)]
        rows = [row for row in free if row.state == OutboxState.WAITING]
        leases = [Lease(relay, self.now, row, self._earlier(row), frozenset(tracked), is_handoff=False) for row in rows]
        return sorted((lease.before for lease in leases if not lease.blockers), key=lambda row: row.seq)

    def _earlier(self, row: Row) -> list[Row]:
        return [each for each in self._rows_of(row.key) if each.seq < row.seq]

    def _send(self, relay: str, key: QueueKey, *, failure: Exception | None) -> None:
        head = self._unsent(relay, key)[0]
        row = self.rows[head.name]
        if self.loop_time >= head.send_before:
            self._release(relay, key)
        elif row.expires_at is not None and row.expires_at <= self.now:
            self._abandon(relay, head, OutboxState.EXPIRED, "expired")
        elif failure is None:
            self.sent.append((row.seq, self._rows_of(key)))
            row.sends += 1
            head.is_sent = True
        else:
            self._fail(relay, key, head, failure)

    def _mark(self, relay: str) -> None:
        model = self.relays[relay]
        names = [each.name for each in model.tracked if each.is_sent]
        model.tracked = [each for each in model.tracked if not each.is_sent]
        seqs = [self.rows[name].seq for name in names]
        self._record(relay, names, self.store.relay(relay).mark_sent(seqs), state=OutboxState.SENT)

    def _resync(self, relay: str) -> None:
        model = self.relays[relay]
        tracked = self._tracked_seqs(relay)
        names = [name for name, row in self.rows.items() if row.lease_owner == relay and row.seq not in tracked]
        self._record(relay, names, self.store.relay(relay).release_untracked(tracked))
        model.is_up = True
        model.is_uncertain = False

    def _fail(self, relay: str, key: QueueKey, head: Tracked, failure: Exception) -> None:
        row = self.rows[head.name]
        reason = abandon_reason(failure, MAX_REFUSALS)
        failed = replace(row.leased_row, failures=row.failures, refusals=row.refusals)
        if reason and row.refusals + 1 >= reason.max_consecutive:
            row.failures += 1
            self._abandon(relay, head, OutboxState.UNDELIVERABLE, reason.cause)
            return
        self.relays[relay].tracked.remove(head)
        for write in self.writes:
            write.may_send = write.may_send and (write.key, write.relay) != (key, relay)
        write_failure = self.store.relay(relay).reschedule(failed, "failed", delay_s=RETRY_S, refused=bool(reason))
        changes = {"failures": row.failures + 1, "refusals": row.refusals + 1 if reason else 0}
        self._record(relay, [head.name], write_failure, not_before=self.now + RETRY_S, **changes)
        self._release(relay, key)

    def _abandon(self, relay: str, head: Tracked, state: OutboxState, cause: str) -> None:
        self.relays[relay].tracked.remove(head)
        row = self.rows[head.name]
        failed = replace(row.leased_row, failures=row.failures)
        abandon = self.store.relay(relay).abandon(failed, state, cause, "abandoned")
        self._record(relay, [head.name], abandon, state=state, was_abandoned=True)

    def _release(self, relay: str, key: QueueKey) -> None:
        model = self.relays[relay]
        names = [each.name for each in self._unsent(relay, key)]
        model.tracked = [each for each in model.tracked if each.name not in names]
        self._record(relay, names, self.store.relay(relay).release([self.rows[name].seq for name in names]))

    def _record(self, relay: str, names: Sequence[str], call: Awaitable[None], **changes: Any) -> None:
        """Write to the store, and change the rows of the model that the relay has claimed last."""
        before = self.store.read()
        self.store.run(call)
        self.written.append((relay, before, self.store.read()))
        for name in names:
            row = self.rows[name]
            if row.lease_owner == relay and row.state == OutboxState.WAITING:
                self.rows[name] = replace(row, leased_until=NEVER, **changes)

    def _tracked_seqs(self, relay: str) -> list[int]:
        return [self.rows[each.name].seq for each in self.relays[relay].tracked] if relay else []

    def _unsent(self, relay: str, key: QueueKey) -> list[Tracked]:
        queue = self.relays[relay].tracked
        return [each for each in queue if self.rows[each.name].key == key and not each.is_sent]

    def _find_heads(self, relay: str) -> list[tuple[str, QueueKey]]:
        """Return what the relay may send next; one that is down starts, and one that tracks no row claims some."""
        if not self.relays[relay].is_up:
            self._resync(relay)
        if not self._heads(relay):
            self._claim(relay, 3, ())
        return self._heads(relay)

    def _heads(self, relay: str) -> list[tuple[str, QueueKey]]:
        return [(relay, key) for key in KEYS if self._unsent(relay, key)]

    def _free_keys(self) -> list[QueueKey]:
        return [key for key in KEYS if all(write.key != key for write in self.writes)]

    def _running_relays(self) -> list[str]:
        return [name for name, model in self.relays.items() if model.is_up]

    def _unmarked_relays(self) -> list[str]:
        return [name for name, model in self.relays.items() if any(each.is_sent for each in model.tracked)]

    def _uncertain_relays(self) -> list[str]:
        return [name for name, model in self.relays.items() if model.is_uncertain]

    def _rows_of(self, key: QueueKey) -> list[Row]:
        return [replace(row) for row in self.rows.values() if row.key == key]

    def _abandoned(self) -> list[str]:
        return [name for name, row in self.rows.items() if row.state in ABANDONED_STATES]

    # Invariants

    @invariant()
    def the_outbox_holds_the_committed_rows_in_their_states(self) -> None:
        """States of a row; "At least once": a row is never lost, and a transaction rolled back leaves none."""
        expected = {
            name: StoredRow(
                row.seq, row.state, row.failures, row.refusals, row.lease_owner, is_leased=row.is_leased(self.now)
            )
            for name, row in self.rows.items()
        }
        assert self.store.read() == expected

    @invariant()
    def only_a_free_waiting_row_is_leased(self) -> None:
        """Life of a lease, "free -> leased": no row is leased by two relays, and none that was sent or abandoned."""
        assert [lease for lease in self.leased if lease.before.state != OutboxState.WAITING] == []
        assert [lease for lease in self.leased if lease.before.is_leased(lease.at)] == []

    @invariant()
    def a_claim_leases_no_row_behind_one_that_must_leave_first(self) -> None:
        """Invariants 1 and 2: no lease "behind an earlier one that is delayed by a failure, leased to another relay, or
        leased to this relay without being tracked".
        """
        assert [lease for lease in self.leased if lease.blockers and not lease.is_handoff] == []

    @invariant()
    def the_rows_of_a_claim_are_all_that_are_due(self) -> None:
        """One scan, step 3, and invariant 8: all due rows "whose route has capacity", up to the limit, the oldest
        first, and "a row without a delay is due whatever the clock says".
        """
        for expected, claimed in self.claims:
            assert claimed == expected

    @invariant()
    def a_handoff_leases_no_row_behind_one_that_must_leave_first(self) -> None:
        """A handoff, step 3: "leases a row only if every earlier row of its key is tracked, sent, abandoned, or delayed
        without having failed".
        """
        for lease in self.leased:
            others = [row for row in lease.earlier if lease.is_handoff and row.seq not in lease.tracked]
            waiting = [row for row in others if row.state == OutboxState.WAITING]
            assert [row for row in waiting if row.failures or row.is_due(lease.at)] == [], lease

    @invariant()
    def a_row_is_leased_when_it_is_due(self) -> None:
        """Invariant 8: "A row without a delay is due whatever the clock says", and another at its time."""
        assert [lease for lease in self.leased if not lease.before.is_due(lease.at)] == []

    @invariant()
    def rows_of_a_key_are_sent_in_order(self) -> None:
        """Invariant 1: "Rows with the same (route, ordering key) are sent in ascending seq"; "Abandoned rows do not
        block later ones, nor do rows that were written with a delay".
        """
        for seq, rows in self.sent:
            is_repeated = any(row.sends for row in rows if row.seq == seq)
            unsent = [row for row in rows if not (row.sends or row.is_delayed or row.was_abandoned)]
            assert is_repeated or not [row for row in unsent if row.seq < seq], (seq, rows)

    @invariant()
    def a_relay_changes_only_rows_that_it_has_claimed_last(self) -> None:
        """Invariant 4: the writes of a relay "change a row only while claimed_by is the caller"."""
        for relay, before, after in self.written:
            changed = [name for name in before if before[name] != after[name]]
            assert {before[name].owner for name in changed} <= {relay}

    @invariant()
    def no_lease_is_forgotten(self) -> None:
        """Invariant 5: a relay tracks what it leases, or it "becomes uncertain"."""
        for relay, model in self.relays.items():
            leased = {row.seq for row in self.rows.values() if row.is_leased(self.now) and row.lease_owner == relay}
            assert model.is_uncertain or leased <= set(self._tracked_seqs(relay))

    @invariant()
    def every_row_is_sent_or_abandoned_in_the_end(self) -> None:
        """Invariant 7, "At least once", and 9: only a refused or expired row is not sent."""
        if self.is_drained:
            assert {row.state for row in self.rows.values()} <= {OutboxState.SENT, *ABANDONED_STATES}
            assert [row for row in self.rows.values() if row.state == OutboxState.SENT and not row.sends] == []


def test_the_outbox_in_memory_keeps_its_invariants(pytestconfig: pytest.Config) -> None:
    with open_memory_store() as store:
        run_machine(lambda: OutboxMachine(store), pytestconfig, examples=200, steps=30)


def test_the_outbox_on_postgresql_keeps_its_invariants(databases: Databases, pytestconfig: pytest.Config) -> None:
    admin_url = databases.create_migrated(SERVICE)
    with open_sql_store(admin_url, role_url(admin_url, SERVICE)) as store:
        run_machine(lambda: OutboxMachine(store), pytestconfig, examples=150, steps=25)
