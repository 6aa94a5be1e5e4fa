"""Both sides in one table, as rows of text: for the terminal and for the page."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from prebook.lab.burst.figures import IN_TIME_S, Figures
from prebook.lab.burst.judge import NOT_MEASURED, Check, Report
from prebook.lab.burst.memory_report import watched
from prebook.lab.burst.model import Second, Side
from prebook.lab.burst.series import known

FELT = 0.5
"""Share of a limit above which a load is worth a word."""
Shown = Callable[[Figures], str]

ROWS: Sequence[tuple[str, Shown]] = (
    ("offered, rides/s", lambda f: f"{f.offered_per_s:.1f}"),
    ("settled in time, rides/s", lambda f: f"{f.goodput_per_s:.1f}"),
    ("  of the capacity", lambda f: f"{f.goodput_share:.0%}"),
    (f"late outcomes (after {IN_TIME_S:.0f} s)", lambda f: str(f.late)),
    ("taken in, and failed or expired", lambda f: str(f.expired)),
    ("turned away with 429 or 503", lambda f: str(f.refused)),
    ("turned away without a word", lambda f: str(f.unexplained)),
    ("refusals said", lambda f: str(f.refusals)),
    ("came back when told", lambda f: str(f.came_back)),
    ("  and got in at once", lambda f: share(f.came_in, f.came_back)),
    ("  or at a later visit", lambda f: share(f.came_in_at_last, f.came_back)),
    ("oldest message, worst", lambda f: maybe(f.oldest_s, " s")),
    ("oldest message, at the end", lambda f: maybe(f.oldest_at_end_s, " s")),
    ("  growing each second by", lambda f: maybe(f.oldest_slope, " s", 2)),
    ("backlog at the end, questions", lambda f: maybe(f.backlog_at_end, "", 0)),
    ("  growing each second by", lambda f: maybe(f.backlog_slope, "")),
    ("seconds in which age and backlog were seen", lambda f: f"{f.waiting_seen:.0%}"),
    ("lost / doubled / in flight", lambda f: f"{f.lost} / {f.doubled} / {f.in_flight}"),
    ("memory of the whole suite, most", lambda f: maybe(f.memory_whole_mb, " MB", 0)),
    ("memory of the whole suite, grown by", lambda f: maybe(f.memory_grown_mb, " MB", 0)),
)
"""Before those of each process's memory."""

BY_NATURE: Mapping[str, str] = {
    "sync_api": "its caller waits and holds a connection: as many rides at once as callers may be held, and a circuit "
    "that opens; nothing lies anywhere",
    "async_api": "202 says yes before the work is done: the provider's inbox takes all that comes; what bounds it is "
    "only what the caller still waits for",
    "one_way": "none: the sender knows no receiver and hears of no backlog; the broker's queue is the buffer, and "
    "its length limit the first brake",
    "request_reply": "questions without an answer are known to who asked, each with a deadline: the caller can stop; "
    "between them the queue takes what comes",
    "mixed": "that of each flow's own coupling; its riders wait for the synchronous quote",
}
"""What flow control a coupling has of itself, before anything of ours: from how it works, not from this run."""


def maybe(value: float | None, unit: str, digits: int = 1) -> str:
    return NOT_MEASURED if value is None else f"{value:.{digits}f}{unit}"


def share(some: int, of: int) -> str:
    return f"{some} ({some / of:.0%})" if of else "-"


def side_by_side(report: Report) -> list[tuple[str, ...]]:
    """Name, then a cell for each side."""
    rows = (*ROWS, *map(memory_row, named(report)))
    return [(name, *(shown(each) for each in report.figures)) for name, shown in rows]


def named(report: Report) -> tuple[str, ...]:
    """The processes that were watched on either side, or were to be."""
    return watched(name for each in report.figures for name in each.memory_mb)


def memory_row(process: str) -> tuple[str, Shown]:
    return f"  memory of {process}, most", lambda f: maybe(f.memory_mb.get(process), " MB", 0)


def heads(report: Report) -> tuple[str, ...]:
    return ("", *(f"back pressure {each.back_pressure}" for each in report.figures))


PLAN_HEADS = (
    "plan",
    "in time/s",
    "late",
    "expired",
    "refused",
    "outcome p50 / p99",
    "flow control by nature",
)


def by_plan(report: Report) -> list[tuple[str, ...]]:
    """A line for each plan, with the sides' values in the cells in the order of the sides."""
    labels = [plan.label for plan in report.figures[0].plans]
    return [plan_row(label, report.figures) for label in sorted(labels, key=list(BY_NATURE).index)]


def plan_row(label: str, sides: Sequence[Figures]) -> tuple[str, ...]:
    mine = [next(plan for plan in side.plans if plan.label == label) for side in sides]
    cells = (
        [f"{plan.in_time_per_s:.1f}" for plan in mine],
        [str(plan.late) for plan in mine],
        [str(plan.expired) for plan in mine],
        [str(plan.refused) for plan in mine],
        [f"{plan.outcome_ms.p50 / 1e3:.1f} / {plan.outcome_ms.p99 / 1e3:.1f} s" for plan in mine],
    )
    return (label, *(" | ".join(each) for each in cells), BY_NATURE[label])


def links(report: Report) -> list[tuple[str, str]]:
    """Which links of the chain acted, from the queue to the rider: side, and what was seen of each link."""
    return [(side.back_pressure, text) for side in report.sides for text in chain(side)]


def chain(side: Side) -> Iterator[str]:
    seconds = side.seconds
    yield f"queues: {queues(seconds)}"
    unsent = known(seconds, lambda each: each.unsent)
    yield f"relays: {int(unsent[-1] - unsent[0]) if unsent else 'unknown how many'} publishes that were not taken"
    yield f"outboxes: {outboxes(seconds)}"
    yield f"admission control, loads by their limit: {pressed(seconds)}"
    yield f"riders: {', '.join(f'{count} x {said}' for said, count in side.refusals.items()) or 'nobody was refused'}"


def queues(seconds: Sequence[Second]) -> str:
    seen = [second for second in seconds if second.queued is not None]
    if not seen:
        return NOT_MEASURED
    fullest = max(seen, key=lambda each: each.queued or 0)
    return f"{fullest.queued} messages at most, most of them in {fullest.longest_queue or 'none'}"


def outboxes(seconds: Sequence[Second]) -> str:
    rows, oldest = known(seconds, lambda each: each.outbox_rows), known(seconds, lambda each: each.outbox_oldest_s)
    return f"{max(rows):.0f} rows at most, the oldest {max(oldest):.1f} s" if rows and oldest else NOT_MEASURED


def pressed(seconds: Sequence[Second]) -> str:
    loads = {name for second in seconds for name in second.pressure}
    most = {name: max(second.pressure.get(name, 0.0) for second in seconds) for name in sorted(loads)}
    felt = ", ".join(f"{name} {share:.0%}" for name, share in most.items() if share >= FELT)
    return felt or ("none above a half" if loads else NOT_MEASURED)


def mark(check: Check) -> str:
    if not check.due:
        return "not due yet"
    return {True: "ok", False: "FAILED", None: NOT_MEASURED}[check.ok]
