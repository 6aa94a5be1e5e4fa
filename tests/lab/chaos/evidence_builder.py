"""A whole and sound chaos run of a few bookings, made by hand: what every defect of the tests is planted into."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from prebook.contracts.booking import BookingState, DeliveryEntry, LedgerEntry
from prebook.contracts.dead_letters import DeadLetterState, DeadLetterSummary
from prebook.lab.chaos.database import DatabaseState, DriverAssignment
from prebook.lab.chaos.evidence import Evidence, InjectedFault
from prebook.lab.ledger.reconciliation import reconcile
from prebook.lab.load.samples import Sample
from tests.lab.ledger.accounts_builder import START, delivery_of, row, sample

CONFIRMED = ("requested", "priced", "matched", "confirmed")
FAULT = InjectedFault(
    name="kill_pricing", at_s=3.0, took_effect=True, duration_s=2.0, evidence="pid 1 killed, pid 2 there"
)


@dataclass(frozen=True)
class Sources:
    """What each source says; a test changes one of them and nothing else."""

    samples: Sequence[Sample]
    rows: Sequence[LedgerEntry]
    deliveries: Sequence[DeliveryEntry]
    tables: DatabaseState
    parked: Sequence[DeadLetterSummary] = ()
    wire_duplicates: int = 3
    faults: Sequence[InjectedFault] = (FAULT,)
    poisoned: bool = False

    def but(self, **changes: Any) -> "Sources":
        return replace(self, **changes)

    def tables_but(self, **changes: Any) -> "Sources":
        return replace(self, tables=replace(self.tables, **changes))

    @property
    def evidence(self) -> Evidence:
        return Evidence(
            reconciliation=reconcile(self.samples, self.rows, self.deliveries),
            database=self.tables,
            dead_letters=self.parked,
            wire_duplicates=self.wire_duplicates,
            faults=self.faults,
            poison_sent=self.poisoned,
        )


def sound(bookings: int = 3) -> Sources:
    """Every booking confirmed a second after it was offered, one second apart."""
    samples = [sample(n, when=float(n)) for n in range(bookings)]
    rows = [row(each, settled=n + 1.0) for n, each in enumerate(samples)]
    slots = [DriverAssignment(each.booking_id, each.driver or "", START.isoformat()) for each in rows]
    ids = [each.booking_id for each in rows]
    tables = DatabaseState(
        histories=dict.fromkeys(ids, CONFIRMED),
        discounts=dict.fromkeys(ids, "granted"),
        granted_count=bookings,
        granted_rows=bookings,
        assigned=slots,
        reserved=slots,
        notices=dict.fromkeys(ids, ("confirmed",)),
        ordered_messages=4 * bookings,
    )
    return Sources(samples, rows, [delivery_of(each, when=n + 1.0) for n, each in enumerate(rows)], tables)


def with_row(sources: Sources, number: int, **changes: Any) -> Sources:
    rows = list(sources.rows)
    rows[number] = msgspec.structs.replace(rows[number], **changes)
    return sources.but(rows=rows)


def rejected(sources: Sources, number: int) -> Sources:
    """One booking without a ride, its share given back and its rider told so."""
    booking = sources.rows[number].booking_id
    ended = with_row(sources, number, state=BookingState.REJECTED, driver=None, fleet=None, slot=None)
    tables = sources.tables
    return ended.but(
        deliveries=[delivery_of(each) for each in ended.rows],
        tables=replace(
            tables,
            histories={**tables.histories, booking: ("requested", "priced", "rejected")},
            discounts={**tables.discounts, booking: "returned"},
            granted_count=tables.granted_count - 1,
            granted_rows=tables.granted_rows - 1,
            assigned=[slot for slot in tables.assigned if slot.booking_id != booking],
            reserved=[slot for slot in tables.reserved if slot.booking_id != booking],
            notices={**tables.notices, booking: ("rejected",)},
        ),
    )


def parked(conversation_id: str, **changes: Any) -> DeadLetterSummary:
    texts = ("failure_group", "error_type", "error", "exchange", "routing_key", "flow", "kind", "type", "message_id")
    numbers = ("id", "attempts", "times_parked", "payload_bytes", "version")
    line: dict[str, Any] = {
        **dict.fromkeys((*texts, "trace_id", "reason"), ""),
        **dict.fromkeys(numbers, 1),
        "state": DeadLetterState.PARKED,
        "conversation_id": conversation_id,
        "queue": "pricing",
        "cause": "malformed",
        "first_failed_at": START,
        "last_failed_at": START,
    }
    return DeadLetterSummary(**{**line, **changes})
