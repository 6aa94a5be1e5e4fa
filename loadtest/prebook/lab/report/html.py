"""The report as one offline page: verdict first, then what it rests on."""

from collections.abc import Mapping, Sequence
from importlib import resources
from string import Template

from prebook.lab.quantiles import format_ms
from prebook.lab.report.charts import latency_chart, shared_scale, timeline_chart
from prebook.lab.report.markup import Markup, join_markup, tag
from prebook.lab.report.model import CampaignReport, CampaignVerdict, PlanResult, PlanTradeOff, ScenarioReport
from prebook.lab.report.ranking import LATENCY_METRICS
from prebook.lab.report.scales import LogScale
from prebook.lab.report.tables import discrepancy_table, ledger_table, matrix_table
from prebook.lab.report.verdict import ALL_FAULTS

GIB = 2**30


def page(report: CampaignReport) -> str:
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
    title = tag("title", f"Prebook campaign, seed {report.seed}")
    style, frame = ((assets / name).read_text() for name in ("report.css", "page.html"))
    return Template(frame).substitute(style=style, title=title, body=body)


def masthead(report: CampaignReport) -> Markup:
    verdict = report.verdict
    ok = verdict is not None and verdict.ok
    badge = tag(
        "p", "the ledger closes" if ok else "the ledger does not close", class_=f"badge {'ok' if ok else 'bad'}"
    )
    headline = tag("h1", verdict.headline if verdict else "No verdict")
    return tag("header", tag("p", "Prebook campaign", class_="over"), badge, headline, facts(report))


def facts(report: CampaignReport) -> Markup:
    machine = report.machine
    stack = report.stack
    known = {
        "began": f"{report.started_at:%Y-%m-%d %H:%M} UTC",
        "took": f"{report.duration_s:.0f} s",
        "seed": str(report.seed),
        "run": report.run_id,
        "stack": f"{stack.mode}: {stack.broker}, {stack.database}",
        "machine": f"{machine.cores} cores, {machine.memory_bytes / GIB:.1f} GiB, Python {machine.python}",
    }
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in known.items()], class_="facts")


def summary(verdict: CampaignVerdict) -> Markup:
    return tag(
        "section",
        callout("bad", "Problems", verdict.problems),
        callout("warn", "How far the numbers carry", verdict.warnings),
        tag("h2", "Where each coupling won, and what it cost"),
        tag("div", map(trade_off_card, verdict.trade_offs), class_="cards"),
        callout("quiet", "Could not be measured", verdict.not_measured),
    )


def failure_matrix(report: CampaignReport) -> Markup:
    findings = scenario_findings(report.verdict, ALL_FAULTS)
    return tag(
        "section",
        tag("h2", "What each coupling made of each fault"),
        tag("ul", [tag("li", text) for text in findings], class_="findings"),
        tag("div", matrix_table(report.matrix), class_="scroll"),
        id="matrix",
    )


def callout(kind: str, title: str, lines: Sequence[str]) -> Markup:
    if not lines:
        return Markup()
    return tag("div", tag("h3", title), tag("ul", [tag("li", line) for line in lines]), class_=f"callout {kind}")


def trade_off_card(trade_off: PlanTradeOff) -> Markup:
    return tag(
        "article",
        tag("h3", trade_off.label),
        points("won", trade_off.wins, "nothing in this run"),
        points("cost", trade_off.costs, "nothing that was measured"),
        class_=f"card plan {trade_off.label}",
    )


def points(kind: str, lines: Sequence[str], otherwise: str) -> Markup:
    items = [tag("li", line) for line in lines] or [tag("li", otherwise, class_="none")]
    return tag("div", tag("h4", kind), tag("ul", items), class_=kind)


def scenario_findings(verdict: CampaignVerdict | None, scenario: str) -> list[str]:
    return [finding.text for finding in verdict.findings if finding.scenario == scenario] if verdict else []


def scenario_section(scenario: ScenarioReport, findings: Sequence[str], scale: LogScale) -> Markup:
    return tag(
        "section",
        tag("h2", scenario.name),
        tag("p", scenario.expectation, class_="expect"),
        tag("p", circumstances(scenario), class_="circumstances"),
        tag("ul", [tag("li", text) for text in findings], class_="findings"),
        tag("div", [latency_panel(metric, scenario.results, scale) for metric in LATENCY_METRICS], class_="panels"),
        tag("figure", timeline_caption(), timeline_chart(scenario), class_="scroll"),
        tag("div", ledger_table(scenario.results), class_="scroll"),
        discrepancy_table(scenario.discrepancies) if scenario.discrepancies else "",
        id=scenario.name,
    )


def circumstances(scenario: ScenarioReport) -> str:
    arrivals = scenario.arrivals
    lag = scenario.generator.lag_ms
    burst = arrivals.burst
    surge = f", {burst['factor']:g} times that in a burst" if burst else ""
    broken = scenario.fault
    window = scenario.fault_window
    fault = f" {broken.kind} of {broken.target}: {window.evidence}." if broken and window else ""
    return (
        f"{arrivals.process} arrivals, {arrivals.rate_per_s:g} rides a second over all plans{surge}, "
        f"for {arrivals.duration_s:g} s; at rest {scenario.settle_s:.1f} s after the last answer.{fault} "
        f"Requests left {format_ms(lag.p99)} late at p99."
    )


def latency_panel(metric: str, results: Sequence[PlanResult], scale: LogScale) -> Markup:
    return tag("figure", tag("figcaption", metric, tag("span", " p50 / p99")), latency_chart(metric, results, scale))


def timeline_caption() -> Markup:
    legend = tag("span", " bars: answered; line: offered; shade: the fault")
    return tag("figcaption", "rides answered over time", legend)


DEFINITIONS: Mapping[str, str] = {
    "latency": "runs from the moment a ride was meant to be offered, not from when the request left. Logarithmic axis, "
    "the same in every panel: dot at the median, band to p90, whisker to p99.",
    "time to accept": "until the whole response of 201 or 202 had arrived.",
    "time to outcome, until the rider knows": "until booking recorded the outcome, and notification the delivery, of "
    "rides that the business answered (confirmed or rejected). A quick failure is no quick outcome.",
    "tie": "the 83 % intervals of two medians overlap: about what a test at the 5 % level calls no difference.",
    "lost": "accepted with no row behind it, or settled with nobody told.",
    "duplicated": "two bookings under one key, a rider told again, or a driver given away twice in one slot.",
    "recovery": "from the end of the fault until the last disturbed ride was over: backlog drained, newcomers treated "
    "as before. Disturbed is a ride, open when the fault began or offered later, that was never answered, or only "
    "after more than a second and twice the plan's slowest outcome that was in by then.",
    "accepted, settled, answered": "taken in by booking; of those, at an end; of those, confirmed or rejected. A plan "
    "that refuses at once accepts less, one that waits settles later.",
    "dead-lettered": "only where the suite says which bookings have a parked message; in flight otherwise.",
}


def definitions() -> Markup:
    lines = [tag("div", tag("dt", word), tag("dd", meaning)) for word, meaning in DEFINITIONS.items()]
    return tag("footer", tag("h2", "What the words mean"), tag("dl", lines))
