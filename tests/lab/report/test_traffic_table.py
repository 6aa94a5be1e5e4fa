"""Tables of messages and hops: every number has an id, and the hops stand beside the time that a rider waits."""

import re

import msgspec

from prebook.lab.report.model import CouplingTraffic, HopLine, TrafficLine
from prebook.lab.report.traffic_table import traffic_table
from tests.lab.report.results import result, scenario

CALM = scenario(result("sync_api"), result("one_way"))
TRAFFIC = TrafficLine(
    couplings={"one_way": CouplingTraffic(requests=6.0, replies=5.5)},
    sync_hops={
        "quote_fare": HopLine(calls=50, mean_ms=12.0, p99_at_most_ms=50.0),
        "find_driver": HopLine(calls=50, mean_ms=30.0, p99_at_most_ms=100.0),
    },
)


def cells(page: str) -> dict[str, str]:
    """Return id -> text of each cell."""
    return dict(re.findall(r'<td id="([^"]+)">([^<]*)</td>', page))


def test_the_sum_of_the_hops_stands_beside_the_time_that_a_rider_waits() -> None:
    page = traffic_table(msgspec.structs.replace(CALM, traffic=TRAFFIC))
    assert "the sum of their means is 42 ms, that of their p99 at most 150 ms" in page
    assert "the rider waits 10.0 ms at the median" in page
    found = cells(page)
    assert found["calm.traffic.couplings.one_way.replies"] == "5.5"
    assert found["calm.traffic.sync_hops.quote_fare.calls"] == "50"


def test_without_counters_there_is_no_table() -> None:
    assert traffic_table(CALM) == ""
