"""The comparison as one offline page."""

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
    assets = resources.files("prebook.lab.report") / "assets"
    style, frame = ((assets / name).read_text() for name in ("report.css", "page.html"))
    body = join_markup([masthead(report), checks_section(report), charts_section(report), tables_section(report)])
    return Template(frame).substitute(style=style, title=tag("title", f"Prebook burst, seed {report.seed}"), body=body)


def masthead(report: BurstReport) -> Markup:
    verdict = report.verdict
    side = report.sides[0]
    badge = tag("p", "held" if verdict.ok else "did not hold", class_=f"badge {'ok' if verdict.ok else 'bad'}")
    known = {
        "began": f"{side.started_at:%Y-%m-%d %H:%M} UTC",
        "offered": f"{report.factor:g} x {report.capacity_per_s:.1f} rides/s for {report.duration_s:g} s",
        "seed": str(report.seed),
        "stack": f"{side.stack.mode}: {side.stack.broker}, {side.stack.database}",
        "machine": f"{side.machine.cores} cores, {side.machine.memory_bytes / GIB:.1f} GiB",
        "requests left late, p99": ", ".join(f"{each.back_pressure} {each.lag_p99_ms:.0f} ms" for each in report.sides),
    }
    facts = tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in known.items()], class_="facts")
    return tag("header", tag("p", "Prebook burst", class_="over"), badge, tag("h1", verdict.headline), facts)


def checks_section(report: BurstReport) -> Markup:
    rows = [check_row(check) for check in report.verdict.checks]
    return tag("section", tag("h2", "What was to hold"), grid(("back pressure", "what", "seen", "bound", ""), rows))


def check_row(check: BurstCheck) -> Markup:
    kind = {True: "good", False: "bad", None: "nil"}[check.ok]
    cells = [tag("td", text) for text in (check.side, check.name, check.value, check.limit)]
    return tag("tr", cells, tag("td", table.check_mark(check), class_=kind))


def charts_section(report: BurstReport) -> Markup:
    return join_markup(
        [
            panels("Second by second", load_charts(report.sides)),
            panels("Memory, second by second", memory_charts(report.sides, table.process_names(report))),
        ]
    )


def panels(title: str, figures: Iterator[Markup]) -> Markup:
    return tag("section", tag("h2", title), tag("div", list(figures), class_="panels"))


def load_charts(sides: Sequence[BurstSide]) -> Iterator[Markup]:
    yield chart(
        "age of the oldest message", "s", series_by_side(sides, lambda s: s.oldest_age_s), limit=MAX_OLDEST_AGE_S
    )
    yield chart("questions without an answer", "all plans", series_by_side(sides, lambda s: s.pending_requests))
    yield chart("messages in queues", "not in hand", series_by_side(sides, lambda s: s.queued))
    yield chart("rows in outboxes", "waiting", series_by_side(sides, lambda s: s.outbox_rows))
    yield chart(
        "settled in time", "rides/s", {side.back_pressure: settled_by_second(side, late=False) for side in sides}
    )
    yield chart(
        "late, expired or failed", "rides/s", {side.back_pressure: settled_by_second(side, late=True) for side in sides}
    )
    yield chart("refused with 429 or 503", "a second", {side.back_pressure: refusals_by_second(side) for side in sides})


def memory_charts(sides: Sequence[BurstSide], processes: Sequence[str]) -> Iterator[Markup]:
    """What is not looked at in a second is, in the whole, as it was last seen."""
    whole = {side.back_pressure: total_mb(side.snapshots) for side in sides}
    yield chart("memory of the whole suite", "MB", whole, limit=MAX_TOTAL_MEMORY_MB)
    for process in processes:
        yield chart(
            f"memory of {process}", "MB", series_by_side(sides, memory_of(process)), limit=max_memory_mb(process)
        )


def series_by_side(sides: Sequence[BurstSide], value_of: Callable[[SuiteSnapshot], float | None]) -> dict[str, Points]:
    return {side.back_pressure: points(side.snapshots, value_of) for side in sides}


def memory_of(process: str) -> Callable[[SuiteSnapshot], float | None]:
    return lambda second: second.memory_mb.get(process)


def points(snapshots: Sequence[SuiteSnapshot], value_of: Callable[[SuiteSnapshot], float | None]) -> Points:
    return [(second.at_s, value) for second in snapshots if (value := value_of(second)) is not None]


def refusals_by_second(side: BurstSide) -> Points:
    return counts_by_second(side, [moment for ride in side.rides for moment in ride.refused_s])


def counts_by_second(side: BurstSide, moments: Sequence[float | None]) -> Points:
    """So many in each second, until the last one that was looked at."""
    last = max((second.at_s for second in side.snapshots), default=side.duration_s)
    return [(float(at), float(count)) for at, count in enumerate(bin_by_second(moments, int(last) + 1))]


def settled_by_second(side: BurstSide, *, late: bool) -> Points:
    """``late``: those that came too late, or were ended by a deadline, instead of those in time."""
    return counts_by_second(
        side, [ride.settled_s for ride in side.rides if outcome_s(ride) and is_in_time(ride) is not late]
    )


def tables_section(report: BurstReport) -> Markup:
    return tag(
        "section",
        tag("h2", "Side by side"),
        grid(table.headings(report), map(row, table.side_rows(report))),
        tag("h2", "By plan, the sides one after the other"),
        grid(table.PLAN_HEADINGS, map(row, table.plan_rows(report)), class_="scroll discrepancies"),
        tag("h2", "What each link did, from the queue to the rider"),
        grid(("back pressure", "link"), map(row, table.link_rows(report)), class_="scroll discrepancies"),
    )


def grid(heads: Sequence[str], rows: Sequence[Markup] | Iterator[Markup], class_: str = "scroll") -> Markup:
    head = tag("thead", tag("tr", [tag("th", text, scope="col") for text in heads]))
    return tag("div", tag("table", head, tag("tbody", list(rows))), class_=class_)


def row(cells: Sequence[str]) -> Markup:
    return tag("tr", tag("th", cells[0], scope="row"), [tag("td", text) for text in cells[1:]])
