"""Evidence of a flawless chaos run of a few bookings, into which the tests plant one defect each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import msgspec

from prebook.contracts.booking import DeliveryEntry, LedgerEntry
from prebook.contracts.dead_letters import DeadLetterState, DeadLetterSummary
from prebook.contracts.ride import BookingState
from prebook.lab.chaos.callbacks import ReceivedCallback
from prebook.lab.chaos.database import DatabaseState, DriverAssignment
from prebook.lab.chaos.evidence import Cancellation, Evidence, InjectedFault
from prebook.lab.chaos.repeated_keys import Repetition
from prebook.lab.chaos.slowness import SlowPeriod
from prebook.lab.ledger.reconciliation import reconcile
from prebook.lab.load.plans import PLANS
from prebook.lab.load.samples import ACCEPTED_STATUSES, Sample
from prebook.lab.suite_client.flow_limits import FlowLimits
from tests.lab.ledger.accounts_builder import START, at, delivery_of, row, sample

CONFIRMED = ("requested", "priced", "matched", "confirmed")
FAULT = InjectedFault(
    name="kill_pricing", at_s=3.0, took_effect=True, duration_s=2.0, evidence="pid 1 killed, pid 2 there"
)


FLOW_LIMITS = {
    "quote_fare": FlowLimits(deadline_s=120.0, timeout_s=2.0),
    "find_driver": FlowLimits(deadline_s=120.0, timeout_s=3.0),
    "ask_fleet": FlowLimits(deadline_s=60.0, timeout_s=2.0),
    "notify_rider": FlowLimits(deadline_s=120.0, timeout_s=2.0),
}


@dataclass(frozen=True)
class RunRecords:
    """Records of each source of evidence; a test changes one of them and nothing else."""

    samples: Sequence[Sample]
    rows: Sequence[LedgerEntry]
    deliveries: Sequence[DeliveryEntry]
    database: DatabaseState
    dead_letters: Sequence[DeadLetterSummary] = ()
    wire_duplicates: int = 3
    faults: Sequence[InjectedFault] = (FAULT,)
    cancellations: Sequence[Cancellation] = ()
    callbacks: Sequence[ReceivedCallback] | None = None
    slow: Sequence[SlowPeriod] = ()
    repetitions: Sequence[Repetition] = ()
    first_samples: Sequence[Sample] | None = None
    """By default, the samples."""

    def with_changes(self, **changes: Any) -> "RunRecords":
        return replace(self, **changes)

    def with_database_changes(self, **changes: Any) -> "RunRecords":
        return replace(self, database=replace(self.database, **changes))

    @property
    def evidence(self) -> Evidence:
        return Evidence(
            started_at=START,
            flow_limits=FLOW_LIMITS,
            cancellations=self.cancellations,
            callbacks=self.callbacks,
            slow=self.slow,
            repetitions=self.repetitions,
            first_samples=self.samples if self.first_samples is None else self.first_samples,
            reconciliation=reconcile(self.samples, self.rows, self.deliveries),
            database=self.database,
            dead_letters=self.dead_letters,
            wire_duplicates=self.wire_duplicates,
            faults=self.faults,
        )


def flawless_run(bookings: int = 3) -> RunRecords:
    """Offer one booking per second; each is confirmed one second after its offer."""
    samples = [msgspec.structs.replace(sample(n, when=float(n)), named_state="requested") for n in range(bookings)]
    rows = [row(offered, settled=n + 1.0) for n, offered in enumerate(samples)]
    assignments = [DriverAssignment(entry.booking_id, entry.driver or "", START.isoformat()) for entry in rows]
    ids = [entry.booking_id for entry in rows]
    database = DatabaseState(
        histories=dict.fromkeys(ids, CONFIRMED),
        discounts=dict.fromkeys(ids, "granted"),
        granted_count=bookings,
        granted_rows=bookings,
        assigned=assignments,
        reserved=assignments,
        notices=dict.fromkeys(ids, ("confirmed",)),
        ordered_messages=4 * bookings,
    )
    deliveries = [delivery_of(entry, when=n + 1.0) for n, entry in enumerate(rows)]
    repetitions = [
        attempt
        for first in samples[-1:]
        for attempt in (repeated(first), repeated(first, is_same_body=False, status=422, code="idempotency_key_reused"))
    ]
    return RunRecords(samples, rows, deliveries, database, repetitions=repetitions)


def repeated(first: Sample, *, is_same_body: bool = True, status: int | None = 202, **changes: Any) -> Repetition:
    """Repeat the request of ``first`` two seconds after it."""
    named_states = {202: "requested", 201: "confirmed"}
    return Repetition(
        key=first.key,
        is_same_body=is_same_body,
        sent_at=first.intended_at + timedelta(seconds=2),
        answered_at=first.intended_at + timedelta(seconds=2.1),
        status=status,
        booking_id=first.booking_id if status in ACCEPTED_STATUSES else None,
        named_state=named_states.get(status or 0),
        named_fare_cents=fare_cents_of(first) if status == 201 else None,
    )._replace(**changes)


def fare_cents_of(offered: Sample) -> int:
    """Return the fare in booking's row of a flawless run."""
    return row(offered).fare_cents or 0


def with_row(records: RunRecords, index: int, **changes: Any) -> RunRecords:
    rows = list(records.rows)
    rows[index] = msgspec.structs.replace(rows[index], **changes)
    return records.with_changes(rows=rows)


def with_rejection(records: RunRecords, index: int) -> RunRecords:
    """Reject one booking: its discount is returned, its driver released and its rider notified."""
    booking = records.rows[index].booking_id
    rejected = with_row(records, index, state=BookingState.REJECTED, driver=None, fleet=None, slot=None)
    database = records.database
    return rejected.with_changes(
        deliveries=[delivery_of(entry) for entry in rejected.rows],
        database=replace(
            database,
            histories={**database.histories, booking: ("requested", "priced", "rejected")},
            discounts={**database.discounts, booking: "returned"},
            granted_count=database.granted_count - 1,
            granted_rows=database.granted_rows - 1,
            assigned=[slot for slot in database.assigned if slot.booking_id != booking],
            reserved=[slot for slot in database.reserved if slot.booking_id != booking],
            notices={**database.notices, booking: ("rejected",)},
        ),
    )


def with_end(
    records: RunRecords, index: int, state: BookingState, reason: str, *, when: float, label: str = "one_way"
) -> RunRecords:
    """End one booking without an answer ``when`` seconds after the start, under the plan ``label``."""
    changes = {"state": state, "reason": reason, "settled_at": at(when), "couplings": PLANS[label]}
    ended = with_row(with_rejection(records, index), index, **changes)
    booking = ended.rows[index].booking_id
    samples = list(ended.samples)
    samples[index] = msgspec.structs.replace(samples[index], label=label)
    database = ended.database
    return ended.with_changes(
        samples=samples,
        deliveries=[delivery_of(entry, when=when) for entry in ended.rows],
        database=replace(
            database,
            histories={**database.histories, booking: ("requested", "priced", state)},
            notices={**database.notices, booking: (state,)},
        ),
    )


def dead_letter(conversation_id: str, **changes: Any) -> DeadLetterSummary:
    texts = ("failure_group", "error_type", "error", "exchange", "routing_key", "flow", "kind", "type", "message_id")
    numbers = ("id", "attempts", "times_parked", "payload_bytes", "version")
    fields: dict[str, Any] = {
        **dict.fromkeys((*texts, "trace_id", "reason", "operator"), ""),
        **dict.fromkeys(numbers, 1),
        "state": DeadLetterState.PARKED,
        "conversation_id": conversation_id,
        "queue": "pricing",
        "cause": "malformed",
        "first_failed_at": START,
        "last_failed_at": START,
    }
    return DeadLetterSummary(**{**fields, **changes})
