"""The judge of a chaos run finds every defect that is planted into a flawless run, and passes a flawless run."""

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from prebook.contracts.ride import BookingState
from prebook.lab.chaos.database import DriverAssignment, MessageTrace, OvertakenMessage
from prebook.lab.chaos.judge import ChaosResult, ChaosVerdict, judge, worst_gap_s
from tests.lab.chaos.evidence_builder import (
    CONFIRMED,
    FAULT,
    RunRecords,
    dead_letter,
    flawless_run,
    with_rejection,
    with_row,
)
from tests.lab.ledger.accounts_builder import answered, at, delivery_of, refused, row, sample

ONE = "bk_one_way_0"
TWO = "bk_one_way_1"


def violation_counts(verdict: ChaosVerdict) -> dict[str, int]:
    """Return the violation counts of the result that are not 0."""
    result = msgspec.structs.asdict(verdict.result)
    return {name: result[name] for name in ("lost", "stuck", "duplicated", "misordered") if result[name]}


def test_a_flawless_run_passes() -> None:
    verdict = judge(with_rejection(flawless_run(), 2).evidence)
    assert verdict.ok, verdict.problems
    assert not verdict.violations
    assert not violation_counts(verdict)
    assert verdict.result.bookings == 3


def without_ledger_entry(run: RunRecords) -> RunRecords:
    return run.with_changes(rows=run.rows[1:], deliveries=run.deliveries[1:])


def without_delivery(run: RunRecords) -> RunRecords:
    return run.with_changes(deliveries=run.deliveries[1:])


def with_abandoned_message(run: RunRecords) -> RunRecords:
    return run.with_database_changes(abandoned=[MessageTrace("booking", ONE, "m-1", "no queue")])


def without_discount(run: RunRecords) -> RunRecords:
    return run.with_database_changes(discounts={**run.database.discounts, ONE: "returned"})


def without_assignment(run: RunRecords) -> RunRecords:
    return run.with_database_changes(assigned=run.database.assigned[1:])


def with_leaked_slot(run: RunRecords) -> RunRecords:
    """Lose the release of a rejected booking, so that fleets keeps its slot."""
    return with_rejection(run, 0).with_database_changes(reserved=run.database.reserved)


def with_later_slots(run: RunRecords) -> RunRecords:
    """Let every ride last into a second slot."""
    later = [slot._replace(slot=f"later than {slot.slot}") for slot in run.database.reserved]
    return run.with_database_changes(reserved=[*run.database.reserved, *later])


def with_overlapping_rides(run: RunRecords) -> RunRecords:
    """Let the first ride last into the slot of the second, with the same driver."""
    first, second = (slot._replace(driver="d-1") for slot in run.database.reserved[:2])
    rides = [first._replace(slot="earlier"), first, second]
    both = with_row(with_row(run, 0, driver="d-1"), 1, driver="d-1")
    assigned = [first._replace(slot="earlier"), second]
    return both.with_database_changes(
        assigned=[*assigned, *run.database.assigned[2:]], reserved=[*rides, *run.database.reserved[2:]]
    )


def with_open_booking(run: RunRecords) -> RunRecords:
    open_booking = with_row(run, 0, state=BookingState.PRICED, settled_at=None, driver=None)
    database = replace(run.database, assigned=run.database.assigned[1:], reserved=run.database.reserved[1:])
    database = replace(database, histories={**database.histories, ONE: CONFIRMED[:2]}, notices={TWO: ("confirmed",)})
    return open_booking.with_changes(deliveries=run.deliveries[1:], database=database)


def with_pending_message(run: RunRecords) -> RunRecords:
    return run.with_database_changes(pending=[MessageTrace("booking", ONE, "m-1")])


def with_duplicate_entry(run: RunRecords) -> RunRecords:
    return run.with_changes(rows=[*run.rows, msgspec.structs.replace(run.rows[0], driver="d-9")])


def with_duplicate_delivery(run: RunRecords) -> RunRecords:
    first = msgspec.structs.replace(run.deliveries[0], times_delivered=2)
    return run.with_changes(deliveries=[first, *run.deliveries[1:]])


def with_double_assignment(run: RunRecords) -> RunRecords:
    """Assign one driver and slot to two bookings, in the records of every service."""
    slots = [DriverAssignment(slot.booking_id, "d-1", slot.slot) for slot in run.database.assigned[:2]]
    rest = list(run.database.assigned[2:])
    both = with_row(with_row(run, 0, driver="d-1"), 1, driver="d-1")
    return both.with_database_changes(assigned=[*slots, *rest], reserved=[*slots, *rest])


def with_discount_of_a_rejected_booking(run: RunRecords) -> RunRecords:
    ended = with_rejection(run, 0)
    return ended.with_database_changes(
        discounts=run.database.discounts,
        granted_count=run.database.granted_count,
        granted_rows=run.database.granted_rows,
    )


def with_wrong_campaign_counter(run: RunRecords) -> RunRecords:
    return run.with_database_changes(granted_count=run.database.granted_count + 1)


def with_forbidden_transition(run: RunRecords) -> RunRecords:
    histories = {**run.database.histories, ONE: ("requested", "matched", "priced", "confirmed")}
    return run.with_database_changes(histories=histories)


def with_overtaken_message(run: RunRecords) -> RunRecords:
    return run.with_database_changes(overtaken=[OvertakenMessage("pricing", ONE, "m-1", at(1.0), None)])


def with_swapped_notices(run: RunRecords) -> RunRecords:
    histories = {**run.database.histories, ONE: (*CONFIRMED, "cancelled")}
    return run.with_database_changes(
        histories=histories, notices={**run.database.notices, ONE: ("cancelled", "confirmed")}
    )


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (without_ledger_entry, "lost"),
        (without_delivery, "lost"),
        (with_abandoned_message, "lost"),
        (without_discount, "lost"),
        (without_assignment, "lost"),
        (with_leaked_slot, "lost"),
        (with_open_booking, "stuck"),
        (with_pending_message, "stuck"),
        (with_duplicate_entry, "duplicated"),
        (with_duplicate_delivery, "duplicated"),
        (with_double_assignment, "duplicated"),
        (with_overlapping_rides, "duplicated"),
        (with_discount_of_a_rejected_booking, "duplicated"),
        (with_wrong_campaign_counter, "duplicated"),
        (with_forbidden_transition, "misordered"),
        (with_overtaken_message, "misordered"),
        (with_swapped_notices, "misordered"),
    ],
)
def test_a_planted_defect_is_counted(plant: Callable[[RunRecords], RunRecords], kind: str) -> None:
    verdict = judge(plant(flawless_run()).evidence)
    assert not verdict.ok
    assert violation_counts(verdict).get(kind, 0) >= 1, verdict.violations
    assert any(kind in line for line in verdict.problems)


def test_a_ride_that_covers_several_slots_is_one_reservation() -> None:
    assert judge(with_later_slots(flawless_run()).evidence).ok
    leaked = with_rejection(flawless_run(), 0).with_database_changes(
        reserved=with_later_slots(flawless_run()).database.reserved
    )
    assert violation_counts(judge(leaked.evidence)) == violation_counts(
        judge(with_leaked_slot(flawless_run()).evidence)
    )


def test_two_fares_for_one_ride_contradict_each_other() -> None:
    run = flawless_run(1)
    twin = sample(0, label="mixed")
    entry = row(twin, settled=1.0)
    raised = msgspec.structs.replace(entry, fare_cents=(entry.fare_cents or 0) + 100)
    slots = [*run.database.assigned, DriverAssignment(entry.booking_id, entry.driver or "", "later")]
    database = replace(run.database, assigned=slots, reserved=slots, granted_count=2, granted_rows=2)
    database = replace(database, discounts={ONE: "granted", entry.booking_id: "granted"})
    both = run.with_changes(
        samples=[*run.samples, twin], rows=[*run.rows, raised], deliveries=[*run.deliveries, delivery_of(entry)]
    )
    assert any("contradictory" in line for line in judge(both.with_changes(database=database).evidence).problems)


def fails_with(run: RunRecords, text: str) -> bool:
    verdict = judge(run.evidence)
    return not verdict.ok and any(text in line for line in verdict.problems)


def test_a_fault_without_effect_fails_the_run() -> None:
    idle = msgspec.structs.replace(FAULT, name="pause_fleets", took_effect=False, evidence="answered every probe")
    assert fails_with(
        flawless_run().with_changes(faults=[FAULT, idle]), "pause_fleets at 3.0 s took no effect (answered every probe)"
    )


def test_a_run_that_proves_nothing_fails() -> None:
    assert fails_with(flawless_run().with_changes(wire_duplicates=0), "no message was delivered twice")
    assert fails_with(flawless_run().with_changes(faults=[]), "no fault was injected")
    assert fails_with(flawless_run(0), "no booking was accepted")
    for repetitions in ([], flawless_run().repetitions[:1], flawless_run().repetitions[1:]):
        assert fails_with(flawless_run().with_changes(repetitions=repetitions), "nothing was proven about idempotency")
    assert fails_with(flawless_run().with_database_changes(ordered_messages=0), "nothing was proven about order")


def test_a_dead_letter_without_booking_fails_the_run_even_if_poison_was_sent() -> None:
    poison = msgspec.structs.replace(FAULT, name="poison")
    stray = flawless_run().with_changes(dead_letters=[dead_letter("nobody-1")], faults=[FAULT, poison])
    assert fails_with(stray, "belongs to no booking of the run")


def test_a_dead_letter_of_a_settled_booking_is_a_note_and_one_of_an_open_booking_a_failure() -> None:
    verdict = judge(
        flawless_run().with_changes(dead_letters=[dead_letter(ONE), dead_letter(ONE), dead_letter(TWO)]).evidence
    )
    assert verdict.ok
    (note,) = verdict.notes
    assert note.startswith("3 x ")
    assert f"the 2 booking(s) settled nevertheless: {ONE}, {TWO}" in note
    assert fails_with(
        with_open_booking(flawless_run()).with_changes(dead_letters=[dead_letter(ONE)]),
        f"its booking {ONE} is not settled",
    )


def test_the_printed_result_has_exactly_the_fields_of_the_contract() -> None:
    written = msgspec.json.decode(msgspec.json.encode(judge(flawless_run().evidence).result))
    counts = ["bookings", "lost", "stuck", "duplicated", "misordered", "unexplained"]
    names = [*counts, "wire_duplicates", "worst_gap_s", "ends", "silent", "repetitions", "callbacks", "faults"]
    names.append("violations")
    assert list(written) == names
    assert written["faults"] == [{"name": "kill_pricing", "at_s": 3.0, "took_effect": True}]
    assert ChaosResult.__struct_fields__ == tuple(names)


def test_the_printed_result_lists_the_violations() -> None:
    written = msgspec.json.decode(msgspec.json.encode(judge(without_ledger_entry(flawless_run()).evidence).result))
    assert {"kind": "lost", "subject": ONE} in [
        {name: found[name] for name in ("kind", "subject")} for found in written["violations"]
    ]
    assert all(found["detail"] for found in written["violations"])


@pytest.mark.parametrize(
    ("rides", "gap_s"),
    [
        ([(0, 1), (10, 11)], 1.0),  # no ride was due between the two
        ([(0, 1), (0.5, 9), (10, 11)], 8.0),  # the second ride was due
        ([(0, 4)], 4.0),
        ([], 0.0),
    ],
)
def test_the_worst_gap_counts_only_while_a_ride_is_due(rides: list[tuple[float, float]], gap_s: float) -> None:
    accounts = [answered(n, offered, settled) for n, (offered, settled) in enumerate(rides)]
    assert worst_gap_s(accounts) == gap_s


def test_an_outcome_with_a_future_timestamp_makes_no_gap() -> None:
    ahead = replace(answered(0, 0, 90), deliveries=answered(0, 0, 1).deliveries)
    assert worst_gap_s([ahead, answered(1, 1, 2)]) == 1.0


def test_a_refused_ride_is_due_at_its_intended_time() -> None:
    accounts = [answered(0, 0, 1), refused(1, 2), answered(2, 6, 7)]
    assert worst_gap_s(accounts) == (at(7) - at(2)).total_seconds()
