"""Cases of the crash-point experiment and the verdict on its rides."""

from itertools import combinations

import msgspec

from prebook.contracts.ride import BookingState
from prebook.flows import SERVICES
from prebook.lab.chaos.evidence import Evidence, InjectedFault
from prebook.lab.experiments.crash_points.cases import CrashSite, list_sites, pair_cases, single_cases
from prebook.lab.experiments.crash_points.experiment import CaseResult
from prebook.lab.experiments.crash_points.verdict import CrashReport, report
from prebook.lab.ledger.accounts import build_accounts
from prebook.lab.ledger.reconciliation import Reconciliation
from prebook.messaging.crash_points import CrashPoint
from tests.lab.chaos.evidence_builder import FLOW_LIMITS
from tests.lab.ledger.accounts_builder import START, delivery_of, row, sample

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
