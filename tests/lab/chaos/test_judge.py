"""The judgement of a chaos run can fail: every defect that is planted into a sound run is found, and counted once."""

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from prebook.contracts.booking import BookingState
from prebook.lab.chaos.database import DriverAssignment, MessageTrace
from prebook.lab.chaos.judge import ChaosResult, ChaosVerdict, judge, worst_gap_s
from tests.lab.chaos.evidence_builder import CONFIRMED, FAULT, Sources, parked, rejected, sound, with_row
from tests.lab.ledger.accounts_builder import answered, at, delivery_of, refused, row, sample

ONE = "bk_one_way_0"
TWO = "bk_one_way_1"


def counts(verdict: ChaosVerdict) -> dict[str, int]:
    """What was counted and is not 0."""
    found = msgspec.structs.asdict(verdict.result)
    return {name: found[name] for name in ("lost", "stuck", "doubled", "misordered") if found[name]}


def test_a_sound_run_passes() -> None:
    verdict = judge(rejected(sound(), 2).evidence)
    assert verdict.ok, verdict.problems
    assert not verdict.violations
    assert not counts(verdict)
    assert verdict.result.bookings == 3


def no_row(run: Sources) -> Sources:
    return run.but(rows=run.rows[1:], deliveries=run.deliveries[1:])


def nobody_told(run: Sources) -> Sources:
    return run.but(deliveries=run.deliveries[1:])


def never_sent(run: Sources) -> Sources:
    return run.tables_but(abandoned=[MessageTrace("booking", ONE, "m-1", "no queue")])


def no_charge(run: Sources) -> Sources:
    return run.tables_but(discounts={**run.tables.discounts, ONE: "returned"})


def no_slot(run: Sources) -> Sources:
    return run.tables_but(assigned=run.tables.assigned[1:])


def slot_of_nobody(run: Sources) -> Sources:
    """The release of a booking that ended was lost, and with it the slot."""
    return rejected(run, 0).tables_but(reserved=run.tables.reserved)


def in_flight(run: Sources) -> Sources:
    gone = with_row(run, 0, state=BookingState.PRICED, settled_at=None, driver=None)
    tables = replace(run.tables, assigned=run.tables.assigned[1:], reserved=run.tables.reserved[1:])
    tables = replace(tables, histories={**tables.histories, ONE: CONFIRMED[:2]}, notices={TWO: ("confirmed",)})
    return gone.but(deliveries=run.deliveries[1:], tables=tables)


def in_hand(run: Sources) -> Sources:
    return run.tables_but(pending=[MessageTrace("booking", ONE, "m-1")])


def booked_twice(run: Sources) -> Sources:
    return run.but(rows=[*run.rows, msgspec.structs.replace(run.rows[0], driver="d-9")])


def told_twice(run: Sources) -> Sources:
    first = msgspec.structs.replace(run.deliveries[0], times_delivered=2)
    return run.but(deliveries=[first, *run.deliveries[1:]])


def driver_twice(run: Sources) -> Sources:
    """One driver and slot for two bookings, by everybody's word."""
    slots = [DriverAssignment(slot.booking_id, "d-1", slot.slot) for slot in run.tables.assigned[:2]]
    rest = list(run.tables.assigned[2:])
    both = with_row(with_row(run, 0, driver="d-1"), 1, driver="d-1")
    return both.tables_but(assigned=[*slots, *rest], reserved=[*slots, *rest])


def charged_without_a_ride(run: Sources) -> Sources:
    ended = rejected(run, 0)
    return ended.tables_but(
        discounts=run.tables.discounts,
        granted_count=run.tables.granted_count,
        granted_rows=run.tables.granted_rows,
    )


def counted_twice(run: Sources) -> Sources:
    return run.tables_but(granted_count=run.tables.granted_count + 1)


def back_in_time(run: Sources) -> Sources:
    histories = {**run.tables.histories, ONE: ("requested", "matched", "priced", "confirmed")}
    return run.tables_but(histories=histories)


def overtaken(run: Sources) -> Sources:
    return run.tables_but(overtaken=[MessageTrace("pricing", ONE, "m-1")])


def told_backwards(run: Sources) -> Sources:
    histories = {**run.tables.histories, ONE: (*CONFIRMED, "cancelled")}
    return run.tables_but(histories=histories, notices={**run.tables.notices, ONE: ("cancelled", "confirmed")})


@pytest.mark.parametrize(
    ("defect", "counted"),
    [
        (no_row, "lost"),
        (nobody_told, "lost"),
        (never_sent, "lost"),
        (no_charge, "lost"),
        (no_slot, "lost"),
        (slot_of_nobody, "lost"),
        (in_flight, "stuck"),
        (in_hand, "stuck"),
        (booked_twice, "doubled"),
        (told_twice, "doubled"),
        (driver_twice, "doubled"),
        (charged_without_a_ride, "doubled"),
        (counted_twice, "doubled"),
        (back_in_time, "misordered"),
        (overtaken, "misordered"),
        (told_backwards, "misordered"),
    ],
)
def test_a_planted_defect_is_counted(defect: Callable[[Sources], Sources], counted: str) -> None:
    verdict = judge(defect(sound()).evidence)
    assert not verdict.ok
    assert counts(verdict).get(counted, 0) >= 1, verdict.violations
    assert any(counted in line for line in verdict.problems)


def test_a_fare_that_no_other_plan_got_is_a_contradiction() -> None:
    run = sound(1)
    twin = sample(0, label="mixed")
    ended = row(twin, settled=1.0)
    dearer = msgspec.structs.replace(ended, fare_cents=(ended.fare_cents or 0) + 100)
    slots = [*run.tables.assigned, DriverAssignment(ended.booking_id, ended.driver or "", "later")]
    tables = replace(run.tables, assigned=slots, reserved=slots, granted_count=2, granted_rows=2)
    tables = replace(tables, discounts={ONE: "granted", ended.booking_id: "granted"})
    both = run.but(
        samples=[*run.samples, twin], rows=[*run.rows, dearer], deliveries=[*run.deliveries, delivery_of(ended)]
    )
    assert any("contradictory" in line for line in judge(both.but(tables=tables).evidence).problems)


def problem(run: Sources, text: str) -> bool:
    verdict = judge(run.evidence)
    return not verdict.ok and any(text in line for line in verdict.problems)


def test_a_fault_without_effect_fails_the_run() -> None:
    idle = msgspec.structs.replace(FAULT, name="pause_fleets", took_effect=False, evidence="answered every probe")
    assert problem(sound().but(faults=[FAULT, idle]), "pause_fleets at 3.0 s took no effect (answered every probe)")


def test_a_run_that_proves_nothing_fails() -> None:
    assert problem(sound().but(wire_duplicates=0), "no message came a second time")
    assert problem(sound().but(faults=[]), "no fault was injected")
    assert problem(sound(0), "no booking was accepted")
    assert problem(sound().tables_but(ordered_messages=0), "order of leaving")


def test_what_only_poison_parked_is_a_note_and_anything_else_a_failure() -> None:
    stray = sound().but(parked=[parked("nobody-1")])
    assert problem(stray, "belongs to no booking of the run")
    verdict = judge(stray.but(poisoned=True).evidence)
    assert verdict.ok
    assert verdict.notes == ("1 poison message(s) parked, as they should be",)


def test_a_parked_message_of_a_settled_booking_is_named_and_one_of_an_open_booking_fails() -> None:
    verdict = judge(sound().but(parked=[parked(ONE), parked(ONE), parked(TWO)]).evidence)
    assert verdict.ok
    (note,) = verdict.notes
    assert note.startswith("3 x ")
    assert f"the 2 booking(s) settled all the same: {ONE}, {TWO}" in note
    assert problem(in_flight(sound()).but(parked=[parked(ONE)]), f"its booking {ONE} is not settled")


def test_the_result_has_just_the_fields_of_the_contract() -> None:
    written = msgspec.json.decode(msgspec.json.encode(judge(sound().evidence).result))
    names = ["bookings", "lost", "stuck", "doubled", "misordered", "wire_duplicates", "worst_gap_s", "faults"]
    assert list(written) == names
    assert written["faults"] == [{"name": "kill_pricing", "at_s": 3.0, "took_effect": True}]
    assert ChaosResult.__struct_fields__ == tuple(names)


@pytest.mark.parametrize(
    ("rides", "gap_s"),
    [
        ([(0, 1), (10, 11)], 1.0),  # nobody was due between the two
        ([(0, 1), (0.5, 9), (10, 11)], 8.0),  # the second one was
        ([(0, 4)], 4.0),
        ([], 0.0),
    ],
)
def test_the_worst_gap_counts_only_while_a_ride_is_due(rides: list[tuple[float, float]], gap_s: float) -> None:
    accounts = [answered(n, offered, settled) for n, (offered, settled) in enumerate(rides)]
    assert worst_gap_s(accounts) == gap_s


def test_an_outcome_stamped_by_a_clock_that_runs_ahead_is_no_gap() -> None:
    ahead = replace(answered(0, 0, 90), deliveries=answered(0, 0, 1).deliveries)
    assert worst_gap_s([ahead, answered(1, 1, 2)]) == 1.0


def test_a_ride_that_nobody_took_in_was_due_all_the_same() -> None:
    accounts = [answered(0, 0, 1), refused(1, 2), answered(2, 6, 7)]
    assert worst_gap_s(accounts) == (at(7) - at(2)).total_seconds()
