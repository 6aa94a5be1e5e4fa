"""Messages and hops of a scenario, from the differences of the services' counters. Pure.

A counter names flow and coupling of a message. A plan with one coupling for every flow needs the sum over the flows:
what the rides of all plans sent in a flow by that coupling, divided by the rides whose plan uses it there.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.lab.campaign.raw_results import RawScenario
from prebook.lab.load.plans import PLANS
from prebook.lab.report.model import CouplingTraffic, HopLine, TrafficLine

SENT = "prebook_messages_sent_total"
SEND_COUNT = "prebook_send_seconds_count"
SEND_SUM = "prebook_send_seconds_sum"
SEND_BUCKET = "prebook_send_seconds_bucket"
FAMILIES = frozenset({SENT, SEND_COUNT, SEND_SUM, SEND_BUCKET})
SERIES = re.compile(r"^(?P<name>\w+)\{(?P<labels>[^}]*)\}$")
LABEL = re.compile(r'(\w+)="([^"]*)"')
LINE = re.compile(r"^(?P<series>\w+\{[^}]*\}) (?P<value>\S+)$", re.MULTILINE)
P99_SHARE = 0.99
CALLER_FLOWS = ("quote_fare", "find_driver", "notify_rider")
"""Flows whose hops follow one another in a synchronous ride; `ask_fleet` takes place within `find_driver`."""


def parse_counters(pages: Iterable[str]) -> Mapping[str, float]:
    """Return series -> value, summed over the pages of all processes, of the metrics in FAMILIES."""
    total: defaultdict[str, float] = defaultdict(float)
    for page in pages:
        for line in LINE.finditer(page):
            if line["series"].partition("{")[0] in FAMILIES:
                total[line["series"]] += float(line["value"])
    return total


def counter_differences(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return by how much each series has grown; series that have not are left out."""
    grown = {series: round(value - before.get(series, 0.0), 6) for series, value in after.items()}
    return {series: value for series, value in sorted(grown.items()) if value > 0}


def traffic_line(raw: RawScenario) -> TrafficLine | None:
    """Return messages and hops; None with a fault, which resets counters of processes, or without counters."""
    if raw.fault or not raw.counters:
        return None
    sent = Counter[tuple[str, str, str]]()
    for name, labels, value in read_series(raw.counters):
        if name == SENT:
            sent[labels["flow"], labels["coupling"], labels["kind"]] += round(value)
    rides = Counter(sample.label for sample in raw.samples if sample.accepted)
    return TrafficLine(
        couplings={
            coupling.value: CouplingTraffic(
                requests=messages_per_ride(sent, rides, coupling, "request"),
                replies=messages_per_ride(sent, rides, coupling, "reply"),
            )
            for coupling in Coupling
        },
        sync_hops={flow: hop_line(raw.counters, flow) for flow in CALLER_FLOWS},
    )


def messages_per_ride(
    sent: Mapping[tuple[str, str, str], int], rides: Mapping[str, int], coupling: Coupling, kind: str
) -> float:
    """Return the messages of one kind that a ride sends if all of its flows use the coupling."""
    total = 0.0
    for flow in FLOWS:
        users = sum(count for label, count in rides.items() if PLANS[label][flow] is coupling)
        total += sent.get((flow, coupling.value, kind), 0) / users if users else 0.0
    return round(total, 3)


def hop_line(counters: Mapping[str, float], flow: str) -> HopLine:
    """Return the time of a synchronous call of one flow, retries included."""
    own = [
        (name, labels, value)
        for name, labels, value in read_series(counters)
        if labels.get("flow") == flow
        and labels.get("coupling") == Coupling.SYNC_API
        and labels.get("kind") == "request"
    ]
    count = sum(value for name, _, value in own if name == SEND_COUNT)
    total_s = sum(value for name, _, value in own if name == SEND_SUM)
    buckets = sorted((float(labels["le"]), value) for name, labels, value in own if name == SEND_BUCKET)
    p99_s = next((bound for bound, value in buckets if value >= P99_SHARE * count), 0.0)
    return HopLine(
        calls=round(count),
        mean_ms=round(total_s / count * 1e3, 1) if count else 0.0,
        p99_at_most_ms=round(p99_s * 1e3, 1) if p99_s != float("inf") else 0.0,
    )


def read_series(counters: Mapping[str, float]) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """Yield name, labels and value of each series."""
    for series, value in counters.items():
        match = SERIES.match(series)
        if match:
            yield match["name"], dict(LABEL.findall(match["labels"])), value
