"""Both sides in one table, as rows of text: for the terminal and for the page."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from prebook.lab.burst.figures import OUTCOME_DEADLINE_S, BurstFigures
from prebook.lab.burst.judge import NOT_MEASURED, BurstCheck, BurstReport
from prebook.lab.burst.memory_report import expected_and_seen
from prebook.lab.burst.model import BurstSide, SuiteSnapshot
from prebook.lab.burst.series import known_values

MIN_SHOWN_PRESSURE = 0.5
"""Share of a limit above which a load is worth a word."""
FigureFormatter = Callable[[BurstFigures], str]

ROWS: Sequence[tuple[str, FigureFormatter]] = (
    ("offered, rides/s", lambda f: f"{f.offered_per_s:.1f}"),
    ("settled in time, rides/s", lambda f: f"{f.goodput_per_s:.1f}"),
    ("  of the capacity", lambda f: f"{f.goodput_share:.0%}"),
    (f"late outcomes (after {OUTCOME_DEADLINE_S:.0f} s)", lambda f: str(f.late)),
    ("taken in, and failed or expired", lambda f: str(f.expired)),
    ("turned away with 429 or 503", lambda f: str(f.refused)),
    ("turned away without a word", lambda f: str(f.request_errors)),
    ("refusals said", lambda f: str(f.refusals)),
    ("came back when told", lambda f: str(f.retried)),
    ("  and got in at once", lambda f: share_text(f.accepted_on_first_retry, f.retried)),
    ("  or at a later visit", lambda f: share_text(f.accepted_on_any_retry, f.retried)),
    ("oldest message, worst", lambda f: optional_text(f.oldest_age_s, " s")),
    ("oldest message, at the end", lambda f: optional_text(f.oldest_age_at_end_s, " s")),
    ("  growing each second by", lambda f: optional_text(f.oldest_age_slope, " s", 2)),
    ("backlog at the end, questions", lambda f: optional_text(f.backlog_at_end, "", 0)),
    ("  growing each second by", lambda f: optional_text(f.backlog_slope, "")),
    ("seconds in which age and backlog were seen", lambda f: f"{f.backlog_coverage:.0%}"),
    ("lost / doubled / in flight", lambda f: f"{f.lost} / {f.duplicated} / {f.in_flight}"),
    ("memory of the whole suite, most", lambda f: optional_text(f.memory_total_mb, " MB", 0)),
    ("memory of the whole suite, grown by", lambda f: optional_text(f.memory_growth_mb, " MB", 0)),
)
"""Before those of each process's memory."""

FLOW_CONTROL: Mapping[str, str] = {
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


def optional_text(value: float | None, unit: str, digits: int = 1) -> str:
    return NOT_MEASURED if value is None else f"{value:.{digits}f}{unit}"


def share_text(part: int, whole: int) -> str:
    return f"{part} ({part / whole:.0%})" if whole else "-"


def side_rows(report: BurstReport) -> list[tuple[str, ...]]:
    """Name, then a cell for each side."""
    rows = (*ROWS, *map(memory_row, process_names(report)))
    return [(name, *(shown(each) for each in report.figures)) for name, shown in rows]


def process_names(report: BurstReport) -> tuple[str, ...]:
    """The processes that were watched on either side, or were to be."""
    return expected_and_seen(name for each in report.figures for name in each.memory_mb)


def memory_row(process: str) -> tuple[str, FigureFormatter]:
    return f"  memory of {process}, most", lambda f: optional_text(f.memory_mb.get(process), " MB", 0)


def headings(report: BurstReport) -> tuple[str, ...]:
    return ("", *(f"back pressure {each.back_pressure}" for each in report.figures))


PLAN_HEADINGS = (
    "plan",
    "in time/s",
    "late",
    "expired",
    "refused",
    "outcome p50 / p99",
    "flow control by nature",
)


def plan_rows(report: BurstReport) -> list[tuple[str, ...]]:
    """A line for each plan, with the sides' values in the cells in the order of the sides."""
    labels = [plan.label for plan in report.figures[0].plans]
    return [plan_row(label, report.figures) for label in sorted(labels, key=list(FLOW_CONTROL).index)]


def plan_row(label: str, sides: Sequence[BurstFigures]) -> tuple[str, ...]:
    mine = [next(plan for plan in side.plans if plan.label == label) for side in sides]
    cells = (
        [f"{plan.in_time_per_s:.1f}" for plan in mine],
        [str(plan.late) for plan in mine],
        [str(plan.expired) for plan in mine],
        [str(plan.refused) for plan in mine],
        [f"{plan.outcome_ms.p50 / 1e3:.1f} / {plan.outcome_ms.p99 / 1e3:.1f} s" for plan in mine],
    )
    return (label, *(" | ".join(each) for each in cells), FLOW_CONTROL[label])


def link_rows(report: BurstReport) -> list[tuple[str, str]]:
    """Which links of the chain acted, from the queue to the rider: side, and what was seen of each link."""
    return [(side.back_pressure, text) for side in report.sides for text in flow_control_chain(side)]


def flow_control_chain(side: BurstSide) -> Iterator[str]:
    seconds = side.snapshots
    yield f"queues: {queues_text(seconds)}"
    unsent = known_values(seconds, lambda each: each.unsent)
    yield f"relays: {int(unsent[-1] - unsent[0]) if unsent else 'unknown how many'} publishes that were not taken"
    yield f"outboxes: {outboxes_text(seconds)}"
    yield f"admission control, loads by their limit: {pressure_text(seconds)}"
    yield f"riders: {', '.join(f'{count} x {said}' for said, count in side.refusals.items()) or 'nobody was refused'}"


def queues_text(snapshots: Sequence[SuiteSnapshot]) -> str:
    seen = [second for second in snapshots if second.queued is not None]
    if not seen:
        return NOT_MEASURED
    fullest = max(seen, key=lambda each: each.queued or 0)
    return f"{fullest.queued} messages at most, most of them in {fullest.longest_queue or 'none'}"


def outboxes_text(snapshots: Sequence[SuiteSnapshot]) -> str:
    rows = known_values(snapshots, lambda each: each.outbox_rows)
    oldest = known_values(snapshots, lambda each: each.outbox_oldest_s)
    return f"{max(rows):.0f} rows at most, the oldest {max(oldest):.1f} s" if rows and oldest else NOT_MEASURED


def pressure_text(snapshots: Sequence[SuiteSnapshot]) -> str:
    loads = {name for second in snapshots for name in second.pressure}
    most = {name: max(second.pressure.get(name, 0.0) for second in snapshots) for name in sorted(loads)}
    felt = ", ".join(f"{name} {share:.0%}" for name, share in most.items() if share >= MIN_SHOWN_PRESSURE)
    return felt or ("none above a half" if loads else NOT_MEASURED)


def check_mark(check: BurstCheck) -> str:
    if not check.due:
        return "not due yet"
    return {True: "ok", False: "FAILED", None: NOT_MEASURED}[check.ok]
