"""Callbacks of a chaos run: received, verified and judged; each defect fails a run, and what is permitted passes."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import aiohttp
import pytest

from prebook.devstack.ports import allocate_ports
from prebook.devstack.service_environment import rider_callback_settings
from prebook.lab.chaos.callback_receiver import CallbackReceiver, read_callback_receiver
from prebook.lab.chaos.callbacks import ReceivedCallback, is_complete, is_refused_once
from prebook.lab.chaos.judge import judge
from prebook.lab.load.generator import open_session
from prebook.lab.suite_client.settings import InvalidEnvironment
from prebook.patterns.signature import generate_secret, sign
from tests.lab.chaos.evidence_builder import CONFIRMED, RunRecords, flawless_run
from tests.lab.ledger.accounts_builder import at

ONE = "bk_one_way_0"
CANCELLED = (*CONFIRMED, "cancelled")


def callback(booking: str = ONE, outcome: str = "confirmed", sequence: int | None = 4) -> ReceivedCallback:
    return ReceivedCallback(f"{booking}.{outcome}", at(1.0), True, booking, outcome, sequence)


def reported(run: RunRecords) -> list[ReceivedCallback]:
    """Return one callback for each settled booking of a flawless run."""
    return [callback(row.booking_id) for row in run.rows]


def defects_found(callbacks: Sequence[ReceivedCallback], run: RunRecords | None = None) -> list[str]:
    verdict = judge((run or flawless_run()).with_changes(callbacks=callbacks).evidence)
    assert verdict.ok == (not verdict.problems)
    return [violation.detail for violation in verdict.violations if "callback" in violation.detail]


def cancelled_run() -> RunRecords:
    run = flawless_run()
    return run.with_database_changes(histories={**run.database.histories, ONE: CANCELLED})


def test_every_settled_booking_is_reported_and_reports_may_repeat() -> None:
    run = flawless_run()
    assert judge(run.with_changes(callbacks=[*reported(run), callback()]).evidence).ok
    assert defects_found(reported(run)[1:]) == ["confirmed, but no callback told the rider's system so"]
    refused = callback()._replace(accepted=False)
    assert defects_found([refused, *reported(run)[1:]]) == ["confirmed, but no callback told the rider's system so"]


def test_two_reports_of_one_outcome_under_ids_of_their_own_are_two_effects() -> None:
    run = flawless_run()
    again = callback()._replace(message_id=f"{ONE}.confirmed.again")
    assert defects_found([*reported(run), again]) == [
        "2 callbacks with ids of their own told the rider's system that it is confirmed"
    ]
    assert judge(run.with_changes(callbacks=[*reported(run), again]).evidence).result.duplicated == 1
    assert not defects_found([*reported(run), again._replace(accepted=False)])


def test_a_run_without_any_callback_proves_nothing_unless_none_was_asked_for() -> None:
    problems = judge(flawless_run().with_changes(callbacks=[]).evidence).problems
    assert any("nothing was proven about riders' callbacks" in problem for problem in problems)
    assert judge(flawless_run().with_changes(callbacks=None).evidence).ok


def test_a_report_about_what_did_not_happen_fails_the_run() -> None:
    run = flawless_run()
    (found,) = defects_found([*reported(run), callback(outcome="expired")])
    assert "a callback is about expired" in found
    (found,) = defects_found([*reported(run), callback("bk_of_nobody")])
    assert "the booking's states are unknown" in found
    (found,) = defects_found([*reported(run), callback(sequence=7)])
    assert "sequence 7 instead of 4" in found


def test_an_older_report_after_a_newer_one_needs_a_sequence() -> None:
    run = cancelled_run()
    newer = callback(outcome="cancelled", sequence=5)
    others = reported(run)[1:]
    assert not defects_found([*others, callback(), newer], run)
    assert not defects_found([*others, newer, callback()], run), "the sequence tells"
    (found,) = defects_found([*others, newer._replace(sequence=None), callback(sequence=None)], run)
    assert found == "a callback about confirmed came after one about cancelled, without a sequence"


@pytest.mark.parametrize("defect", ["not signed", "signed with another secret", "unreadable"])
def test_a_report_that_cannot_be_trusted_fails_the_run(defect: str) -> None:
    run = flawless_run()
    (found,) = defects_found([*reported(run), callback()._replace(defect=defect)])
    assert found == f"a callback is {defect}"


def test_the_run_waits_for_the_last_state_of_every_settled_booking() -> None:
    assert is_complete([], {"bk_open": "priced"})
    assert not is_complete([callback()], {ONE: "cancelled"})
    assert not is_complete([callback()._replace(accepted=False)], {ONE: "confirmed"})
    assert is_complete([callback()], {ONE: "confirmed", "bk_open": "matched"})


def accepted_id(*, refused: bool = False) -> str:
    """Return a message id whose first attempt the receiver accepts, or refuses."""
    return next(f"id-{n}" for n in range(1000) if is_refused_once(f"id-{n}") is refused)


async def post(url: str, secret: str, message_id: str, body: bytes, **headers: str) -> int:
    signature = sign([secret], message_id, int(datetime.now(UTC).timestamp()), body)
    async with open_session() as session, session.post(url, data=body, headers={**signature, **headers}) as response:
        return response.status


async def test_the_receiver_verifies_signatures_and_refuses_some_reports_once() -> None:
    (port,) = allocate_ports(1)
    receiver = read_callback_receiver(rider_callback_settings(f"http://127.0.0.1:{port}"))
    assert receiver is not None
    body = json.dumps({"type": "booking.settled.v1", "booking_id": ONE, "outcome": "confirmed", "sequence": 4}).encode()
    twice = accepted_id(refused=True)
    async with receiver.serve():
        statuses = [
            await post(receiver.url, receiver.secret, accepted_id(), body),
            await post(receiver.url, receiver.secret, twice, body),
            await post(receiver.url, receiver.secret, twice, body),
            await post(receiver.url, generate_secret(), accepted_id(), body),
            await post(receiver.url, receiver.secret, accepted_id(), b"{"),
        ]
    assert statuses == [204, 503, 204, 204, 204]
    good, refused, again, forged, unreadable = receiver.callbacks
    assert (good.booking_id, good.outcome, good.sequence, good.defect) == (ONE, "confirmed", 4, "")
    assert (refused.accepted, again.accepted, again.defect) == (False, True, "")
    assert forged.defect == "signed with another secret"
    assert unreadable.defect.startswith("unreadable")


async def test_an_unsigned_report_is_recorded_as_such() -> None:
    (port,) = allocate_ports(1)
    receiver = CallbackReceiver(f"http://127.0.0.1:{port}", generate_secret())
    async with receiver.serve(), aiohttp.ClientSession() as session:
        await session.post(receiver.url, json={"booking_id": ONE, "outcome": "confirmed"})
    assert [received.defect for received in receiver.callbacks] == ["not signed"]


def test_a_suite_that_may_call_no_rider_has_no_receiver() -> None:
    assert read_callback_receiver({}) is None
    with pytest.raises(InvalidEnvironment):
        read_callback_receiver({"PREBOOK_RIDER_CALLBACK_HOSTS": "hooks.example.com"})
