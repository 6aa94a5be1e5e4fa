"""Tables of messages for one ride by coupling, and of the hops of a synchronous ride."""

from collections.abc import Iterable

from prebook.contracts.plan import Coupling
from prebook.lab.quantiles import format_ms
from prebook.lab.report.markup import Markup, join_markup, tag
from prebook.lab.report.model import ScenarioReport

TRAFFIC_CAPTION = "Messages for one ride, by coupling; a reply by async_api is a callback, by sync_api a response"
TRAFFIC_HEADS = ("coupling", "requests", "replies")
HOP_HEADS = ("hop of sync_api", "calls", "mean", "p99 at most")


def traffic_table(scenario: ScenarioReport) -> Markup:
    """Return both tables; nothing without counters."""
    traffic = scenario.traffic
    if traffic is None:
        return Markup()
    messages = [
        row(f"{scenario.name}.traffic.couplings.{name}", name, {"requests": own.requests, "replies": own.replies})
        for name, own in traffic.couplings.items()
    ]
    hops = [
        row(
            f"{scenario.name}.traffic.sync_hops.{flow}",
            flow,
            {"calls": hop.calls, "mean_ms": format_ms(hop.mean_ms), "p99_at_most_ms": format_ms(hop.p99_at_most_ms)},
        )
        for flow, hop in traffic.sync_hops.items()
    ]
    return join_markup(
        [
            tag("div", table(tag("caption", TRAFFIC_CAPTION), TRAFFIC_HEADS, messages), class_="scroll"),
            tag("div", table(hop_caption(scenario), HOP_HEADS, hops), class_="scroll"),
        ]
    )


def hop_caption(scenario: ScenarioReport) -> Markup:
    """Return the caption of the hops: their sum beside the time that the rider waits."""
    hops = scenario.traffic.sync_hops.values() if scenario.traffic else ()
    waited = next(result.latency_ms.accepted for result in scenario.results if result.label == Coupling.SYNC_API)
    text = (
        f"Hops of a synchronous ride: the sum of their means is {format_ms(sum(hop.mean_ms for hop in hops))}, that of "
        f"their p99 at most {format_ms(sum(hop.p99_at_most_ms for hop in hops))}; the rider waits "
        f"{format_ms(waited.p50)} at the median, {format_ms(waited.p99)} at p99"
    )
    return tag("caption", text, id=f"{scenario.name}.traffic")


def table(caption: Markup, heads: Iterable[str], rows: Iterable[Markup]) -> Markup:
    """Return a table."""
    return tag(
        "table",
        caption,
        tag("thead", tag("tr", [tag("th", head, scope="col") for head in heads])),
        tag("tbody", list(rows)),
    )


def row(prefix: str, name: str, values: dict[str, float | str]) -> Markup:
    """Return a row with a cell for each value, by its id."""
    cells = [tag("td", str(value), id=f"{prefix}.{key}") for key, value in values.items()]
    return tag("tr", tag("th", name, scope="row"), cells)
