"""HTML page of a burst comparison, readable offline."""

from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from string import Template

from prebook.lab.burst import table
from prebook.lab.burst.figures import bin_by_second, is_in_time, outcome_s
from prebook.lab.burst.judge import MAX_OLDEST_AGE_S, MAX_TOTAL_MEMORY_MB, BurstCheck, BurstReport, max_memory_mb
from prebook.lab.burst.line_chart import Points, chart
from prebook.lab.burst.memory_report import total_mb
from prebook.lab.burst.model import BurstSide, SuiteSnapshot
from prebook.lab.report.markup import Markup, join_markup, tag

GIB = 2**30


def render_page(report: BurstReport) -> str:
    """Return the whole page with its style sheet and charts embedded."""
    assets = resources.files("prebook.lab.report") / "assets"
    style = (assets / "report.css").read_text()
    frame = (assets / "page.html").read_text()
    body = join_markup([masthead(report), checks_section(report), charts_section(report), tables_section(report)])
    return Template(frame).substitute(style=style, title=tag("title", f"Prebook burst, seed {report.seed}"), body=body)


def masthead(report: BurstReport) -> Markup:
    """Return the verdict with the conditions of the run."""
    verdict = report.verdict
    side = report.sides[0]
    badge = tag("p", "passed" if verdict.ok else "failed", class_=f"badge {'ok' if verdict.ok else 'bad'}")
    conditions = {
        "started": f"{side.started_at:%Y-%m-%d %H:%M} UTC",
        "offered": f"{report.factor:g} x {report.capacity_per_s:.1f} rides/s for {report.duration_s:g} s",
        "seed": str(report.seed),
        "stack": f"{side.stack.mode}: {side.stack.broker}, {side.stack.database}",
        "machine": f"{side.machine.cores} cores, {side.machine.memory_bytes / GIB:.1f} GiB",
        "load generator lag, p99": ", ".join(f"{side.back_pressure} {side.lag_p99_ms:.0f} ms" for side in report.sides),
    }
    terms = [tag("div", tag("dt", name), tag("dd", value)) for name, value in conditions.items()]
    title = tag("p", "Prebook burst", class_="over")
    return tag("header", title, badge, tag("h1", verdict.headline), tag("dl", terms, class_="facts"))


def checks_section(report: BurstReport) -> Markup:
    """Return the table of all checks."""
    rows = [check_row(check) for check in report.verdict.checks]
    return tag("section", tag("h2", "Checks"), grid(("back pressure", "check", "value", "limit", "result"), rows))


def check_row(check: BurstCheck) -> Markup:
    """Return the table row of one check."""
    css_class = {True: "good", False: "bad", None: "nil"}[check.ok]
    cells = [tag("td", text) for text in (check.side, check.name, check.value, check.limit)]
    return tag("tr", cells, tag("td", table.check_mark(check), class_=css_class))


def charts_section(report: BurstReport) -> Markup:
    """Return the charts of load and memory over time."""
    return join_markup(
        [
            panels("Load over time", load_charts(report.sides)),
            panels("Memory over time", memory_charts(report.sides, table.process_names(report))),
        ]
    )


def panels(title: str, figures: Iterator[Markup]) -> Markup:
    """Return a section of charts side by side."""
    return tag("section", tag("h2", title), tag("div", list(figures), class_="panels"))


def load_charts(sides: Sequence[BurstSide]) -> Iterator[Markup]:
    """Yield the charts of backlog, settled, late and refused rides."""
    yield chart(
        "age of the oldest message", "s", series_by_side(sides, lambda s: s.oldest_age_s), limit=MAX_OLDEST_AGE_S
    )
    yield chart("pending requests", "all plans", series_by_side(sides, lambda s: s.pending_requests))
    yield chart("messages in queues", "ready", series_by_side(sides, lambda s: s.queued))
    yield chart("messages in outboxes", "unsent", series_by_side(sides, lambda s: s.outbox_rows))
    yield chart(
        "settled in time", "rides/s", {side.back_pressure: settled_by_second(side, late=False) for side in sides}
    )
    yield chart(
        "late, expired or failed", "rides/s", {side.back_pressure: settled_by_second(side, late=True) for side in sides}
    )
    yield chart(
        "refused with 429 or 503", "per second", {side.back_pressure: refusals_by_second(side) for side in sides}
    )


def memory_charts(sides: Sequence[BurstSide], processes: Sequence[str]) -> Iterator[Markup]:
    """Yield the charts of the whole suite's memory and of each process."""
    totals = {side.back_pressure: total_mb(side.snapshots) for side in sides}
    yield chart("memory of the whole suite", "MB", totals, limit=MAX_TOTAL_MEMORY_MB)
    for process in processes:
        yield chart(
            f"memory of {process}", "MB", series_by_side(sides, memory_of(process)), limit=max_memory_mb(process)
        )


def series_by_side(sides: Sequence[BurstSide], value_of: Callable[[SuiteSnapshot], float | None]) -> dict[str, Points]:
    """Return the known values over time for each side."""
    return {side.back_pressure: points(side.snapshots, value_of) for side in sides}


def memory_of(process: str) -> Callable[[SuiteSnapshot], float | None]:
    """Return a function that reads the memory of ``process`` from a snapshot."""
    return lambda snapshot: snapshot.memory_mb.get(process)


def points(snapshots: Sequence[SuiteSnapshot], value_of: Callable[[SuiteSnapshot], float | None]) -> Points:
    """Return time and value of the snapshots in which ``value_of`` is known."""
    return [(snapshot.at_s, value) for snapshot in snapshots if (value := value_of(snapshot)) is not None]


def refusals_by_second(side: BurstSide) -> Points:
    """Return the number of refusals in each second."""
    return counts_by_second(side, [moment for ride in side.rides for moment in ride.refused_s])


def counts_by_second(side: BurstSide, moments: Sequence[float | None]) -> Points:
    """Return the number of ``moments`` in each second up to the last snapshot."""
    last_s = max((snapshot.at_s for snapshot in side.snapshots), default=side.duration_s)
    return [(float(second), float(count)) for second, count in enumerate(bin_by_second(moments, int(last_s) + 1))]


def settled_by_second(side: BurstSide, *, late: bool) -> Points:
    """Return the rides settled in each second: those in time, or with ``late`` those late, expired or failed."""
    return counts_by_second(
        side, [ride.settled_s for ride in side.rides if outcome_s(ride) and is_in_time(ride) is not late]
    )


def tables_section(report: BurstReport) -> Markup:
    """Return the tables of figures, plans and links of the back pressure chain."""
    return tag(
        "section",
        tag("h2", "Side by side"),
        grid(table.headings(report), map(row, table.side_rows(report))),
        tag("h2", "By plan, sides separated by |"),
        grid(table.PLAN_HEADINGS, map(row, table.plan_rows(report)), class_="scroll discrepancies"),
        tag("h2", "Back pressure from the queue to the rider"),
        grid(table.LINK_HEADINGS, map(row, table.link_rows(report)), class_="scroll discrepancies"),
    )


def grid(headings: Sequence[str], rows: Sequence[Markup] | Iterator[Markup], class_: str = "scroll") -> Markup:
    """Return a table in a container with the CSS class ``class_``."""
    head = tag("thead", tag("tr", [tag("th", text, scope="col") for text in headings]))
    return tag("div", tag("table", head, tag("tbody", list(rows))), class_=class_)


def row(cells: Sequence[str]) -> Markup:
    """Return a table row whose first cell is its heading."""
    return tag("tr", tag("th", cells[0], scope="row"), [tag("td", text) for text in cells[1:]])
