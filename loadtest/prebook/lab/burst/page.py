"""The comparison as one offline page."""

from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from string import Template

from prebook.lab.burst import table
from prebook.lab.burst.figures import by_second, in_time, took_s
from prebook.lab.burst.judge import OLDEST_S, WHOLE_MB, Check, Report, bound_mb
from prebook.lab.burst.line_chart import Points, chart
from prebook.lab.burst.memory_report import whole_suite
from prebook.lab.burst.model import Second, Side
from prebook.lab.report.markup import Markup, joined, tag

GIB = 2**30


def page(report: Report) -> str:
    assets = resources.files("loadtest") / "assets"
    style, frame = ((assets / name).read_text() for name in ("report.css", "page.html"))
    body = joined([masthead(report), checks(report), charts(report), tables(report)])
    return Template(frame).substitute(style=style, title=tag("title", f"Prebook burst, seed {report.seed}"), body=body)


def masthead(report: Report) -> Markup:
    verdict, side = report.verdict, report.sides[0]
    badge = tag("p", "held" if verdict.ok else "did not hold", class_=f"badge {'ok' if verdict.ok else 'bad'}")
    known = {
        "began": f"{side.began_at:%Y-%m-%d %H:%M} UTC",
        "offered": f"{report.factor:g} x {report.capacity_per_s:.1f} rides/s for {report.duration_s:g} s",
        "seed": str(report.seed),
        "stack": f"{side.stack.mode}: {side.stack.broker}, {side.stack.database}",
        "machine": f"{side.machine.cores} cores, {side.machine.memory_bytes / GIB:.1f} GiB",
        "requests left late, p99": ", ".join(f"{each.back_pressure} {each.lag_p99_ms:.0f} ms" for each in report.sides),
    }
    facts = tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in known.items()], class_="facts")
    return tag("header", tag("p", "Prebook burst", class_="over"), badge, tag("h1", verdict.headline), facts)


def checks(report: Report) -> Markup:
    rows = [check_row(check) for check in report.verdict.checks]
    return tag("section", tag("h2", "What was to hold"), grid(("back pressure", "what", "seen", "bound", ""), rows))


def check_row(check: Check) -> Markup:
    kind = {True: "good", False: "bad", None: "nil"}[check.ok]
    cells = [tag("td", text) for text in (check.side, check.name, check.seen, check.bound)]
    return tag("tr", cells, tag("td", table.mark(check), class_=kind))


def charts(report: Report) -> Markup:
    return joined(
        [
            panels("Second by second", drawn(report.sides)),
            panels("Memory, second by second", memories(report.sides, table.named(report))),
        ]
    )


def panels(title: str, figures: Iterator[Markup]) -> Markup:
    return tag("section", tag("h2", title), tag("div", list(figures), class_="panels"))


def drawn(sides: Sequence[Side]) -> Iterator[Markup]:
    yield chart("age of the oldest message", "s", lines(sides, lambda s: s.oldest_s), bound=OLDEST_S)
    yield chart("questions without an answer", "all plans", lines(sides, lambda s: s.unanswered))
    yield chart("messages in queues", "not in hand", lines(sides, lambda s: s.queued))
    yield chart("rows in outboxes", "waiting", lines(sides, lambda s: s.outbox_rows))
    yield chart("settled in time", "rides/s", {side.back_pressure: settled(side, late=False) for side in sides})
    yield chart("late, expired or failed", "rides/s", {side.back_pressure: settled(side, late=True) for side in sides})
    yield chart("refused with 429 or 503", "a second", {side.back_pressure: refused(side) for side in sides})


def memories(sides: Sequence[Side], processes: Sequence[str]) -> Iterator[Markup]:
    """What is not looked at in a second is, in the whole, as it was last seen."""
    whole = {side.back_pressure: whole_suite(side.seconds) for side in sides}
    yield chart("memory of the whole suite", "MB", whole, bound=WHOLE_MB)
    for process in processes:
        yield chart(f"memory of {process}", "MB", lines(sides, memory(process)), bound=bound_mb(process))


def lines(sides: Sequence[Side], of: Callable[[Second], float | None]) -> dict[str, Points]:
    return {side.back_pressure: points(side.seconds, of) for side in sides}


def memory(of: str) -> Callable[[Second], float | None]:
    return lambda second: second.memory_mb.get(of)


def points(seconds: Sequence[Second], of: Callable[[Second], float | None]) -> Points:
    return [(second.at_s, value) for second in seconds if (value := of(second)) is not None]


def refused(side: Side) -> Points:
    return counted(side, [moment for ride in side.rides for moment in ride.refused_s])


def counted(side: Side, moments: Sequence[float | None]) -> Points:
    """So many in each second, until the last one that was looked at."""
    last = max((second.at_s for second in side.seconds), default=side.duration_s)
    return [(float(at), float(count)) for at, count in enumerate(by_second(moments, int(last) + 1))]


def settled(side: Side, *, late: bool) -> Points:
    """``late``: those that came too late, or were ended by a deadline, instead of those in time."""
    return counted(side, [ride.settled_s for ride in side.rides if took_s(ride) and in_time(ride) is not late])


def tables(report: Report) -> Markup:
    return tag(
        "section",
        tag("h2", "Side by side"),
        grid(table.heads(report), map(row, table.side_by_side(report))),
        tag("h2", "By plan, the sides one after the other"),
        grid(table.PLAN_HEADS, map(row, table.by_plan(report)), class_="scroll discrepancies"),
        tag("h2", "What each link did, from the queue to the rider"),
        grid(("back pressure", "link"), map(row, table.links(report)), class_="scroll discrepancies"),
    )


def grid(heads: Sequence[str], rows: Sequence[Markup] | Iterator[Markup], class_: str = "scroll") -> Markup:
    head = tag("thead", tag("tr", [tag("th", text, scope="col") for text in heads]))
    return tag("div", tag("table", head, tag("tbody", list(rows))), class_=class_)


def row(cells: Sequence[str]) -> Markup:
    return tag("tr", tag("th", cells[0], scope="row"), [tag("td", text) for text in cells[1:]])
