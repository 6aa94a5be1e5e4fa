"""The report as one offline HTML page: the verdict first, then the evidence for it."""

from collections.abc import Mapping, Sequence
from importlib import resources
from string import Template

from prebook.contracts.plan import Coupling
from prebook.lab.load.plans import MIXED
from prebook.lab.quantiles import format_ms
from prebook.lab.report.charts import latency_chart, shared_scale, timeline_chart
from prebook.lab.report.heat_map import heat_map
from prebook.lab.report.markup import Markup, join_markup, tag
from prebook.lab.report.model import CampaignReport, CampaignVerdict, PlanTradeOff, ScenarioReport
from prebook.lab.report.ranking import LATENCY_METRICS
from prebook.lab.report.scales import LogScale
from prebook.lab.report.tables import discrepancy_table, ledger_table, matrix_table, offers_table
from prebook.lab.report.traffic_table import traffic_table
from prebook.lab.report.verdict import ALL_FAULTS

GIB = 2**30


def page(report: CampaignReport) -> str:
    """Return the whole page."""
    assets = resources.files("prebook.lab.report") / "assets"
    verdict = report.verdict
    scale = shared_scale(report.scenarios)
    body = join_markup(
        [
            masthead(report),
            summary(verdict) if verdict else "",
            failure_matrix(report) if report.matrix else "",
            [
                scenario_section(scenario, scenario_findings(verdict, scenario.name), scale)
                for scenario in report.scenarios
            ],
            definitions(),
        ]
    )
    title = tag("title", f"Prebook campaign, seed {report.seed}", id="seed")
    style, frame = ((assets / name).read_text() for name in ("report.css", "page.html"))
    return Template(frame).substitute(style=style, title=title, body=body)


def masthead(report: CampaignReport) -> Markup:
    """Return the header with badge, headline and facts of the run."""
    verdict = report.verdict
    text, kind = badge_of(verdict)
    badge = tag("p", text, class_=f"badge {kind}")
    headline = tag("h1", verdict.headline if verdict else "No verdict", id="verdict.headline")
    return tag("header", tag("p", "Prebook campaign", class_="over"), badge, headline, facts(report))


def badge_of(verdict: CampaignVerdict | None) -> tuple[str, str]:
    """Return text and CSS class of the badge."""
    if verdict is None or verdict.problems:
        return "the ledger does not close", "bad"
    return ("not judged", "warn") if verdict.doubts else ("the ledger closes", "ok")


def facts(report: CampaignReport) -> Markup:
    """Return the list of facts about the run, its stack and machine."""
    machine = report.machine
    stack = report.stack
    values = {
        "started": f"{report.started_at:%Y-%m-%d %H:%M} UTC",
        "duration": f"{report.duration_s:.0f} s",
        "seed": str(report.seed),
        "run": report.run_id,
        "commit": report.commit,
        "stack": f"{stack.mode}: {stack.broker}, {stack.database}",
        "machine": f"{machine.cores} cores, {machine.memory_bytes / GIB:.1f} GiB, Python {machine.python}",
    }
    return tag(
        "dl",
        [tag("div", tag("dt", name), tag("dd", value, id=f"run.{name}")) for name, value in values.items()],
        class_="facts",
    )


def summary(verdict: CampaignVerdict) -> Markup:
    """Return problems, warnings, trade-offs of all plans, and unmeasured items."""
    return tag(
        "section",
        callout("bad", "problems", "Problems", verdict.problems),
        callout("warn", "doubts", "Not judged: the machine was too busy", verdict.doubts),
        callout("warn", "warnings", "Warnings", verdict.warnings),
        tag("h2", "Advantages and costs of each plan"),
        tag("div", map(trade_off_card, verdict.trade_offs), class_="cards"),
        tag("p", plan_text("mixed", MIXED), class_="expect"),
        callout("quiet", "not_measured", "Not measured", verdict.not_measured),
    )


def plan_text(label: str, plan: Mapping[str, Coupling]) -> str:
    """Return the coupling of each flow in a plan."""
    return f"{label}: {', '.join(f'{flow} by {coupling}' for flow, coupling in plan.items())}."


def failure_matrix(report: CampaignReport) -> Markup:
    """Return the section with the failure matrix and its findings."""
    return tag(
        "section",
        tag("h2", "Failure matrix: every plan under every fault"),
        scenario_findings(report.verdict, ALL_FAULTS),
        tag("div", matrix_table(report.matrix), class_="scroll"),
        id="matrix",
    )


def callout(kind: str, name: str, title: str, lines: Sequence[str]) -> Markup:
    """Return a highlighted list of the verdict's field ``name``, or nothing without lines; ``kind`` is a CSS class."""
    if not lines:
        return Markup()
    return tag("div", tag("h3", title), tag("ul", numbered_items(f"verdict.{name}", lines)), class_=f"callout {kind}")


def numbered_items(prefix: str, lines: Sequence[str]) -> list[Markup]:
    """Return list items with the ids ``prefix.0``, ``prefix.1`` and so on."""
    return [tag("li", line, id=f"{prefix}.{position}") for position, line in enumerate(lines)]


def trade_off_card(trade_off: PlanTradeOff) -> Markup:
    """Return the card with advantages and costs of one plan."""
    prefix = f"verdict.trade_offs.{trade_off.label}"
    return tag(
        "article",
        tag("h3", trade_off.label),
        points("won", "advantages", numbered_items(f"{prefix}.wins", trade_off.wins), "none in this run"),
        points("cost", "costs", numbered_items(f"{prefix}.costs", trade_off.costs), "none measured"),
        class_=f"card plan {trade_off.label}",
    )


def points(kind: str, title: str, items: Sequence[Markup], placeholder: str) -> Markup:
    """Return a titled list, or ``placeholder`` without items; ``kind`` is its CSS class."""
    return tag("div", tag("h4", title), tag("ul", items or tag("li", placeholder, class_="none")), class_=kind)


def scenario_findings(verdict: CampaignVerdict | None, scenario: str) -> Markup:
    """Return the list of findings about the scenario of that name."""
    items = [
        tag("li", finding.text, id=f"verdict.findings.{position}.text")
        for position, finding in enumerate(verdict.findings if verdict else ())
        if finding.scenario == scenario
    ]
    return tag("ul", items, class_="findings")


def scenario_section(scenario: ScenarioReport, findings: Markup, scale: LogScale) -> Markup:
    """Return the section of one scenario."""
    return tag(
        "section",
        tag("h2", scenario.name),
        tag("p", scenario.expectation, class_="expect"),
        tag("p", circumstances(scenario), class_="circumstances", id=f"{scenario.name}.circumstances"),
        findings,
        tag("div", [latency_panel(scenario, metric, scale) for metric in LATENCY_METRICS], class_="panels"),
        tag("figure", timeline_caption(), timeline_chart(scenario), class_="scroll"),
        heat_map(scenario) if scenario.fault else "",
        traffic_table(scenario) if scenario.traffic else "",
        tag("p", correlation_text(scenario), id=f"{scenario.name}.correlation") if scenario.correlation else "",
        tag("p", goodput_text(scenario), id=f"{scenario.name}.overload.goodput_per_s") if scenario.overload else "",
        tag("div", ledger_table(scenario.name, scenario.results), class_="scroll"),
        tag("div", offers_table(scenario.name, scenario.offers), class_="scroll") if scenario.offers else "",
        discrepancy_table(scenario.name, scenario.discrepancies) if scenario.discrepancies else "",
        id=scenario.name,
    )


def circumstances(scenario: ScenarioReport) -> str:
    """Return a line about arrivals, fault and lag of the load generator."""
    arrivals = scenario.arrivals
    lag = scenario.generator.lag_ms
    burst = arrivals.burst
    burst_part = f", {burst['factor']:g} times that in a burst" if burst else ""
    fault = scenario.fault
    window = scenario.fault_window
    fault_part = f" Fault {fault.kind} of {fault.target}: {window.evidence}." if fault and window else ""
    return (
        f"{arrivals.process} arrivals, {arrivals.rate_per_s:g} rides per second over all plans{burst_part}, "
        f"for {arrivals.duration_s:g} s; at rest {scenario.settle_s:.1f} s after the last response.{fault_part} "
        f"p99 lag of the load generator: {format_ms(lag.p99)}."
    )


def correlation_text(scenario: ScenarioReport) -> str:
    """Return how many replies reached another ride, of those that can be compared; empty if none can be."""
    line = scenario.correlation
    return f"Miscorrelated replies: {line.miscorrelated} of {line.replies}." if line else ""


def goodput_text(scenario: ScenarioReport) -> str:
    """Return the answered rides per second of each plan during an overload; empty without one."""
    rates = scenario.overload.goodput_per_s if scenario.overload else {}
    return (
        f"Answered per second while rides arrived: {', '.join(f'{label} {rate:g}' for label, rate in rates.items())}."
    )


def latency_panel(scenario: ScenarioReport, metric: str, scale: LogScale) -> Markup:
    """Return a captioned latency chart."""
    return tag("figure", tag("figcaption", metric, tag("span", " p50 / p99")), latency_chart(scenario, metric, scale))


def timeline_caption() -> Markup:
    """Return the caption and legend of a timeline."""
    legend = tag("span", " bars: answered; line: offered; shade: fault")
    return tag("figcaption", "rides answered over time", legend)


DEFINITIONS: Mapping[str, str] = {
    "latency": "counts from the time at which a ride was meant to be offered, not from the time the request was "
    "sent. All panels share one logarithmic axis: dot at the median, band to p90, whisker to p99.",
    "time to accept": "until the complete response 201 or 202 has arrived.",
    "time to outcome, until the rider knows": "until booking has recorded the outcome, and notification the "
    "delivery, of answered rides (confirmed or rejected). A fast failure is not a fast outcome.",
    "tie": "the 83 % confidence intervals of two medians overlap, roughly as when a test at the 5 % level finds "
    "no difference.",
    "lost": "accepted without a booking, or settled without a notice to the rider.",
    "duplicated": "two bookings with one idempotency key, a rider notified twice, or a driver booked twice in a slot.",
    "recovery": "from the end of the fault until the last disturbed ride is settled: the backlog is drained and new "
    "rides settle as before. A ride that was open when the fault began, or was offered later, is disturbed if it was "
    "never answered, or took longer than one second and twice the plan's slowest ride before the fault.",
    "accepted, settled, answered": "stored by booking; of those, with a known outcome; of those, confirmed or "
    "rejected. A plan that refuses at once accepts fewer rides; a plan that waits settles them later.",
    "used, late, duplicate, unreadable, missing": "the first reply of a fleet before the ride was decided; the first "
    "after it; a further one; one that no translator reads; and no reply in time.",
    "dead-lettered": "an open booking with a parked message; it counts as in flight if operations does not run.",
}


def definitions() -> Markup:
    """Return the footer with the definitions of all terms."""
    lines = [tag("div", tag("dt", word), tag("dd", meaning)) for word, meaning in DEFINITIONS.items()]
    return tag("footer", tag("h2", "Definitions"), tag("dl", lines))
