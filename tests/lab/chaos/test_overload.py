"""An overloaded machine explains the failure of a synchronous ride, if it slowed down more than that ride."""

from collections.abc import Sequence

import msgspec
import pytest

from prebook.contracts.ride import BookingState
from prebook.lab.chaos.evidence import InjectedFault
from prebook.lab.chaos.judge import judge
from prebook.lab.chaos.slowness import MACHINE, SlowPeriod
from prebook.lab.load.plans import PLANS
from tests.lab.chaos.evidence_builder import RunRecords, flawless_run, with_end
from tests.lab.ledger.accounts_builder import at, delivery_of

FAILED = (BookingState.FAILED, "no fare: timeout")
QUICK_S = 1.0
SLOW_S = 2.0


def fault(name: str, at_s: float, duration_s: float) -> InjectedFault:
    return InjectedFault(name=name, at_s=at_s, took_effect=True, duration_s=duration_s)


def unexplained(run: RunRecords, *faults: InjectedFault) -> int:
    return judge(run.with_changes(faults=faults).evidence).result.unexplained


def with_failed_call(took_s: Sequence[float], label: str = "one_way") -> RunRecords:
    """Fail the synchronous call of the first ride; the others, of the plan ``label``, took ``took_s`` seconds."""
    run = with_end(flawless_run(1 + len(took_s)), 0, *FAILED, when=2.0, label="sync_api")
    settled_at = [2.0, *(n + seconds for n, seconds in enumerate(took_s, 1))]
    rows = [
        msgspec.structs.replace(row, settled_at=at(when), **({"couplings": PLANS[label]} if index else {}))
        for index, (row, when) in enumerate(zip(run.rows, settled_at, strict=True))
    ]
    deliveries = [delivery_of(row, when=when) for row, when in zip(rows, settled_at, strict=True)]
    return run.with_changes(rows=rows, deliveries=deliveries)


def with_response_times(run: RunRecords, *response_ms: float) -> RunRecords:
    """Let booking take ``response_ms`` to respond to the requests after the first."""
    others = [
        msgspec.structs.replace(sample, response_ms=ms) for sample, ms in zip(run.samples[1:], response_ms, strict=True)
    ]
    return run.with_changes(samples=[run.samples[0], *others])


def test_a_slow_check_of_a_service_explains_a_call_of_it_and_nothing_else() -> None:
    failed = with_failed_call([QUICK_S, QUICK_S])
    assert unexplained(failed) == 1
    for service in ("booking", "pricing"):
        slow = failed.with_changes(slow=[SlowPeriod(service, at(0.0), at(1.0))])
        assert unexplained(slow) == 0
        assert unexplained(slow, fault(f"pause_{service}", 1.5, 1.0)) == 0, "the fault itself explains the call"
        assert unexplained(failed.with_changes(slow=[SlowPeriod(service, at(60.0), at(61.0))])) == 1
    for service in ("matching", "fleets", "notification"):
        assert unexplained(failed.with_changes(slow=[SlowPeriod(service, at(0.0), at(1.0))])) == 1
    waiting = with_end(flawless_run(), 0, BookingState.EXPIRED, "no fare: deadline", when=120.0)
    assert unexplained(waiting.with_changes(slow=[SlowPeriod("pricing", at(0.0), at(130.0))])) == 1


def test_slow_checks_of_two_services_show_that_all_were_slow() -> None:
    failed = with_failed_call([QUICK_S, QUICK_S])
    both = [SlowPeriod("matching", at(0.0), at(1.0)), SlowPeriod("fleets", at(2.0), at(3.0))]
    assert unexplained(failed.with_changes(slow=both)) == 0
    assert unexplained(failed.with_changes(slow=both), fault("pause_fleets", 2.0, 1.0)) == 1
    assert unexplained(failed.with_changes(slow=[SlowPeriod(MACHINE, at(0.0), at(1.0))])) == 0
    apart = [both[0], SlowPeriod("fleets", at(20.0), at(21.0))]
    assert unexplained(failed.with_changes(slow=apart)) == 1


def test_a_check_that_a_fault_slowed_down_is_no_sign_of_an_overload() -> None:
    slow = with_failed_call([QUICK_S, QUICK_S]).with_changes(slow=[SlowPeriod("pricing", at(2.5), at(3.5))])
    assert unexplained(slow) == 0
    assert unexplained(slow, fault("pause_pricing", 5.0, 1.0)) == 1
    assert unexplained(slow, fault("broker_kill", 2.5, 1.0)) == 0, "the broker does not slow a check down"


@pytest.mark.parametrize(
    ("took_s", "unexplained_rides"),
    [
        ([SLOW_S, SLOW_S], 0),
        ([SLOW_S, SLOW_S, QUICK_S], 0),
        ([SLOW_S, QUICK_S], 1),  # one slow ride among quick ones
        ([SLOW_S, QUICK_S, QUICK_S], 1),
        ([SLOW_S], 1),  # nothing to compare with
        ([60.0, 60.0], 1),  # they waited for a message, not for a processor
        ([1.4, 1.4], 1),
    ],
)
def test_rides_show_an_overload_if_most_of_them_were_slow(took_s: Sequence[float], unexplained_rides: int) -> None:
    assert unexplained(with_failed_call(took_s)) == unexplained_rides


def test_rides_that_a_fault_slowed_down_show_no_overload() -> None:
    slow = with_failed_call([SLOW_S, SLOW_S])
    assert unexplained(slow, fault("pause_matching", 1.0, 3.0)) == 1
    assert unexplained(slow, fault("broker_kill", 1.0, 3.0)) == 1
    assert unexplained(slow, fault("duplicate_everything", 1.0, 3.0)) == 0
    by_http = with_failed_call([SLOW_S, SLOW_S], label="async_api")
    assert unexplained(by_http, fault("broker_kill", 1.0, 3.0)) == 0, "the broker does not slow HTTP down"
    assert unexplained(with_failed_call([SLOW_S, SLOW_S], label="sync_api")) == 1, "synchronous rides are no measure"


def test_responses_show_an_overload_if_most_of_them_were_slow() -> None:
    failed = with_failed_call([QUICK_S, QUICK_S])
    assert unexplained(with_response_times(failed, 900.0, 900.0)) == 0
    assert unexplained(with_response_times(failed, 900.0, 12.0)) == 1
    assert unexplained(with_response_times(failed, 499.0, 499.0)) == 1
    slow = with_response_times(failed, 900.0, 900.0)
    assert unexplained(slow, fault("link_slow_matching_database", 0.0, 3.0)) == 0
    assert unexplained(slow, fault("kill_booking", 3.5, 0.4)) == 1, "a fault of booking slowed the response"
