"""Messages and hops of a scenario follow from the differences of the services' counters."""

import msgspec

from prebook.lab.campaign.raw_results import RawScenario
from prebook.lab.campaign.traffic import counter_differences, hop_line, parse_counters, traffic_line
from prebook.lab.load.plans import PLANS
from prebook.lab.report.model import ArrivalsLine, FaultLine
from tests.lab.ledger.accounts_builder import START, sample

LABELS = 'coupling="one_way",flow="quote_fare",kind="request"'
PAGE = f"""# HELP prebook_messages_sent_total Messages sent.
prebook_messages_sent_total{{{LABELS}}} 12.0
prebook_messages_handled_total{{{LABELS}}} 99.0
process_cpu_seconds_total 3.5
"""
SYNC = 'coupling="sync_api",flow="quote_fare",kind="request"'
HOPS = {
    f"prebook_send_seconds_count{{{SYNC}}}": 100.0,
    f"prebook_send_seconds_sum{{{SYNC}}}": 2.5,
    f'prebook_send_seconds_bucket{{{SYNC},le="0.02"}}': 60.0,
    f'prebook_send_seconds_bucket{{{SYNC},le="0.05"}}': 99.0,
    f'prebook_send_seconds_bucket{{{SYNC},le="+Inf"}}': 100.0,
}


def raw_scenario(rides: int) -> RawScenario:
    """Return a scenario without a fault, with ``rides`` accepted rides of each plan."""
    return RawScenario(
        name="calm",
        expectation="",
        arrivals=ArrivalsLine(process="poisson", rate_per_s=10, duration_s=10),
        started_at=START,
        samples=tuple(sample(ride, label=label) for ride in range(rides) for label in PLANS),
        rows=(),
        deliveries=(),
        dead_lettered=(),
        settle_s=0.1,
        max_lag_ms=250.0,
    )


def test_counters_of_all_processes_are_added_and_others_left_out() -> None:
    assert parse_counters([PAGE, PAGE]) == {f"prebook_messages_sent_total{{{LABELS}}}": 24.0}


def test_a_difference_leaves_out_what_has_not_grown() -> None:
    assert counter_differences({"a": 1.0, "b": 2.0}, {"a": 4.0, "b": 2.0, "c": 1.0}) == {"a": 3.0, "c": 1.0}


def test_a_hop_has_mean_and_upper_end_of_its_p99() -> None:
    hop = hop_line(HOPS, "quote_fare")
    assert (hop.calls, hop.mean_ms, hop.p99_at_most_ms) == (100, 25.0, 50.0)
    assert hop_line(HOPS, "find_driver").calls == 0


def test_messages_are_divided_by_the_rides_that_use_the_coupling_in_that_flow() -> None:
    """Ten rides of each plan: one_way asks for a fare in the plan of that name and in no other."""
    raw = raw_scenario(10)
    counters = {f"prebook_messages_sent_total{{{LABELS}}}": 15.0}
    line = traffic_line(msgspec.structs.replace(raw, counters=counters))
    assert line is not None
    assert line.couplings["one_way"].requests == 1.5
    assert line.couplings["request_reply"].requests == 0.0


def test_a_fault_or_missing_counters_leave_the_traffic_unknown() -> None:
    raw = raw_scenario(1)
    assert traffic_line(raw) is None
    fault = FaultLine(kind="kill", target="pricing", start_s=0, duration_s=1)
    assert traffic_line(msgspec.structs.replace(raw, counters=HOPS, fault=fault)) is None
