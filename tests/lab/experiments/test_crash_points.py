"""Cases of the crash-point experiment and the verdict on its rides."""

import asyncio
from itertools import combinations
from pathlib import Path

import aiohttp
import msgspec
import pytest

from prebook.contracts.ride import BookingState
from prebook.flows import SERVICES
from prebook.lab.chaos.evidence import Evidence, InjectedFault
from prebook.lab.chaos.slowness import MACHINE, SlownessProbe, SlowPeriod
from prebook.lab.experiments.crash_points.cases import Case, CrashSite, list_sites, pair_cases, single_cases
from prebook.lab.experiments.crash_points.experiment import CaseResult, CrashRun
from prebook.lab.experiments.crash_points.verdict import CrashReport, report
from prebook.lab.faults.fault_access import read_fault_access
from prebook.lab.ledger.accounts import build_accounts
from prebook.lab.ledger.reconciliation import Reconciliation
from prebook.messaging.crash_points import CrashPoint
from tests.lab.chaos.evidence_builder import FLOW_LIMITS
from tests.lab.ledger.accounts_builder import START, at, delivery_of, row, sample

SITE = CrashSite("pricing", CrashPoint.AFTER_COMMIT)


def judge(*, state: BookingState, label: str = "one_way", crashed: bool = True, site: CrashSite = SITE) -> CrashReport:
    ride_sample = sample(label=label)
    settled = msgspec.structs.replace(row(ride_sample, state, settled=1.0), reason="no fare: unreachable")
    accounts = build_accounts([ride_sample], [settled], [delivery_of(settled)])
    crash = InjectedFault(name=f"kill_{site.service}", at_s=0.0, took_effect=True, duration_s=2.0)
    evidence = Evidence(
        started_at=START,
        flow_limits=FLOW_LIMITS,
        reconciliation=Reconciliation(accounts, (), ()),
        faults=[crash] if crashed else (),
    )
    result = CaseResult((site,), frozenset({site} if crashed else ()))
    return report([result], evidence, 7, possible_pairs=1)


def test_every_service_crashes_at_every_point_of_the_code() -> None:
    sites = list_sites()
    assert len(set(sites)) == len(sites) == len(SERVICES) * len(CrashPoint)
    assert [case[0] for case in single_cases(sites)] == list(sites)


def test_pairs_are_all_pairs_in_an_order_of_the_seed() -> None:
    sites = list_sites()[:6]
    pairs = pair_cases(sites, 7)
    assert {frozenset(pair) for pair in pairs} == {frozenset(pair) for pair in combinations(sites, 2)}
    assert pairs == pair_cases(sites, 7)
    assert pairs != pair_cases(sites, 8)


def test_an_answered_ride_passes_and_sites_without_a_crash_are_named() -> None:
    found = judge(state=BookingState.REJECTED)
    assert found.ok
    assert (found.cases, found.crashes, found.pairs, found.rides, found.confirmed) == (1, 1, 0, 1, 0)
    assert str(SITE) not in found.unreached
    assert len(found.unreached) == len(list_sites()) - 1


def test_a_ride_without_an_answer_fails_unless_its_plan_has_a_synchronous_call() -> None:
    assert any("ended expired" in problem for problem in judge(state=BookingState.EXPIRED).problems)
    assert any("ended failed" in problem for problem in judge(state=BookingState.FAILED, label="async_api").problems)
    assert judge(state=BookingState.FAILED, label="sync_api").ok
    assert judge(state=BookingState.FAILED, label="mixed").ok


def test_a_violated_invariant_fails() -> None:
    assert any("keeps driver none" in problem for problem in judge(state=BookingState.CONFIRMED).problems)


def test_a_point_at_which_nothing_crashed_fails() -> None:
    (problem,) = judge(state=BookingState.REJECTED, crashed=False).problems
    assert problem.startswith("no service crashed at after_commit")


def rejected_synchronous_ride(*slow: SlowPeriod) -> CrashReport:
    """Judge a ride without any crash whose synchronous calls got no offer."""
    ride_sample = sample(label="sync_api")
    entry = row(ride_sample, BookingState.REJECTED, settled=2.5)
    rejected = msgspec.structs.replace(entry, reason="no driver: no fleet has a driver", driver=None)
    accounts = build_accounts([ride_sample], [rejected], [delivery_of(rejected)])
    evidence = Evidence(
        started_at=START, flow_limits=FLOW_LIMITS, reconciliation=Reconciliation(accounts, (), ()), slow=slow
    )
    return report([], evidence, 7, possible_pairs=0)


def test_an_overload_of_the_machine_explains_a_synchronous_call_that_failed_without_a_crash() -> None:
    assert any("no injected fault can have caused it" in problem for problem in rejected_synchronous_ride().problems)
    assert rejected_synchronous_ride(SlowPeriod(MACHINE, at(1.0), at(1.5))).ok


async def test_a_run_looks_for_an_overload_while_its_cases_run(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = SlowPeriod(MACHINE, at(1.0), at(1.5))

    async def find_overload(self: SlownessProbe) -> None:
        self.slow.append(seen)
        await asyncio.Event().wait()

    async def run_case(_: CrashRun, case: Case) -> CaseResult:
        await asyncio.sleep(0)
        return CaseResult(case, frozenset())

    monkeypatch.setattr(SlownessProbe, "run", find_overload)
    monkeypatch.setattr(CrashRun, "_run_case", run_case)
    async with aiohttp.ClientSession() as session:
        access = read_fault_access(session, {"PREBOOK_URL_BOOKING": "http://127.0.0.1:9"})
        run = CrashRun(access, "", Path(), 7, "k", FLOW_LIMITS, 0.0)
        await run.run_cases([(SITE,)], lambda _: None)
    assert run.slowness.slow == [seen]
