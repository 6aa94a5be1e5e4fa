"""Tables of a burst comparison as rows of text, for the terminal and for the page. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from prebook.lab.burst.figures import OUTCOME_DEADLINE_S, BurstFigures
from prebook.lab.burst.judge import NOT_MEASURED, BurstCheck, BurstReport
from prebook.lab.burst.memory_report import expected_and_seen
from prebook.lab.burst.model import BurstSide, SuiteSnapshot
from prebook.lab.burst.series import known_values

MIN_SHOWN_UTILIZATION = 0.5
"""Share of a limit from which a load is shown."""
FigureFormatter = Callable[[BurstFigures], str]

ROWS: Sequence[tuple[str, FigureFormatter]] = (
    ("offered, rides/s", lambda f: f"{f.offered_per_s:.1f}"),
    ("settled in time, rides/s", lambda f: f"{f.goodput_per_s:.1f}"),
    ("  as a share of the capacity", lambda f: f"{f.goodput_share:.0%}"),
    (f"late outcomes (after {OUTCOME_DEADLINE_S:.0f} s)", lambda f: str(f.late)),
    ("accepted, then failed or expired", lambda f: str(f.expired)),
    ("rides refused with 429 or 503", lambda f: str(f.refused)),
    ("rides neither accepted nor refused", lambda f: kinds_text(f.request_errors, f.request_error_kinds)),
    ("refusals, retries included", lambda f: str(f.refusals)),
    ("riders who retried after Retry-After", lambda f: str(f.retried)),
    ("  accepted on the first retry", lambda f: share_text(f.accepted_on_first_retry, f.retried)),
    ("  accepted on any retry", lambda f: share_text(f.accepted_on_any_retry, f.retried)),
    ("age of the oldest message, maximum", lambda f: optional_text(f.oldest_age_s, " s")),
    ("age of the oldest message, at the end", lambda f: optional_text(f.oldest_age_at_end_s, " s")),
    ("  growth per second", lambda f: optional_text(f.oldest_age_slope, " s", 2)),
    ("pending requests at the end", lambda f: optional_text(f.backlog_at_end, "", 0)),
    ("  growth per second", lambda f: optional_text(f.backlog_slope, "")),
    ("seconds with a reading of age and backlog", lambda f: f"{f.backlog_coverage:.0%}"),
    ("lost / duplicated / in flight", lambda f: f"{f.lost} / {f.duplicated} / {f.in_flight}"),
    ("memory of the whole suite, peak", lambda f: optional_text(f.memory_total_mb, " MB", 0)),
    ("memory of the whole suite, growth", lambda f: optional_text(f.memory_growth_mb, " MB", 0)),
)
"""Rows before the memory of each process: label, and text of a side's figure."""

FLOW_CONTROL: Mapping[str, str] = {
    "sync_api": "the caller waits on an open connection: the limit of waiting callers and the circuit breaker bound "
    "concurrency; nothing is buffered",
    "async_api": "202 accepts before the work is done: the provider's inbox buffers everything; only the caller's "
    "limit of pending requests bounds it",
    "one_way": "none: the sender knows no receiver and no backlog; the broker's queue buffers, and its length limit is "
    "the first bound",
    "request_reply": "the caller knows its pending requests, each with a deadline, and can stop; the queue between "
    "caller and provider buffers",
    "mixed": "as the coupling of each flow; riders wait for the synchronous quote",
}
"""Flow control inherent in the coupling of each plan, without admission control; not measured by the run."""


def kinds_text(count: int, kinds: Mapping[str, int]) -> str:
    """Return ``count``, and what was counted by name."""
    named = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
    return f"{count} ({named})" if named else str(count)


def optional_text(value: float | None, unit: str, digits: int = 1) -> str:
    """Return ``value`` with ``digits`` decimals and its unit, or NOT_MEASURED."""
    return NOT_MEASURED if value is None else f"{value:.{digits}f}{unit}"


def share_text(part: int, whole: int) -> str:
    """Return ``part`` with its percentage of ``whole``, or a dash if ``whole`` is 0."""
    return f"{part} ({part / whole:.0%})" if whole else "-"


def side_rows(report: BurstReport) -> list[tuple[str, ...]]:
    """Return rows of a label and one cell per side."""
    rows = (*ROWS, *map(memory_row, process_names(report)))
    return [(label, *(text_of(figures) for figures in report.figures)) for label, text_of in rows]


def process_names(report: BurstReport) -> tuple[str, ...]:
    """Return the processes of a suite, and further ones with a memory reading on either side."""
    return expected_and_seen(name for figures in report.figures for name in figures.memory_mb)


def memory_row(process: str) -> tuple[str, FigureFormatter]:
    """Return label and formatter of the peak memory of ``process``."""
    return f"  memory of {process}, peak", lambda f: optional_text(f.memory_mb.get(process), " MB", 0)


def headings(report: BurstReport) -> tuple[str, ...]:
    """Return the headings of the table of figures: one column per side."""
    return ("", *(f"back pressure {figures.back_pressure}" for figures in report.figures))


PLAN_HEADINGS = (
    "plan",
    "in time/s",
    "late",
    "expired",
    "refused",
    "outcome p50 / p99",
    "inherent flow control",
)
LINK_HEADINGS = ("back pressure", "link")


def plan_rows(report: BurstReport) -> list[tuple[str, ...]]:
    """Return one row per plan, with the values of the sides separated by | in each cell."""
    labels = [plan.label for plan in report.figures[0].plans]
    return [plan_row(label, report.figures) for label in sorted(labels, key=list(FLOW_CONTROL).index)]


def plan_row(label: str, sides: Sequence[BurstFigures]) -> tuple[str, ...]:
    """Return the row of the plan ``label``, a cell per figure."""
    plans = [next(plan for plan in side.plans if plan.label == label) for side in sides]
    values_by_cell = (
        [f"{plan.in_time_per_s:.1f}" for plan in plans],
        [str(plan.late) for plan in plans],
        [str(plan.expired) for plan in plans],
        [str(plan.refused) for plan in plans],
        [f"{plan.outcome_ms.p50 / 1e3:.1f} / {plan.outcome_ms.p99 / 1e3:.1f} s" for plan in plans],
    )
    return (label, *(" | ".join(values) for values in values_by_cell), FLOW_CONTROL[label])


def link_rows(report: BurstReport) -> list[tuple[str, str]]:
    """Return one row per side and link of the back pressure chain, from the queue to the rider."""
    return [(side.back_pressure, text) for side in report.sides for text in flow_control_chain(side)]


def flow_control_chain(side: BurstSide) -> Iterator[str]:
    """Yield the observed effect of back pressure at each link: queues, relays, outboxes, admission control, riders."""
    snapshots = side.snapshots
    yield f"queues: {queues_text(snapshots)}"
    refused = known_values(snapshots, lambda snapshot: snapshot.refused_publishes)
    yield f"relays, publishes refused by the broker: {int(refused[-1] - refused[0]) if refused else NOT_MEASURED}"
    yield f"outboxes: {outboxes_text(snapshots)}"
    yield f"admission control, loads as a share of their limits: {utilization_text(snapshots)}"
    yield f"riders: {', '.join(f'{count} x {refusal}' for refusal, count in side.refusals.items()) or 'none refused'}"


def queues_text(snapshots: Sequence[SuiteSnapshot]) -> str:
    """Return the maximum number of queued messages and the longest queue at that time."""
    known = [snapshot for snapshot in snapshots if snapshot.queued is not None]
    if not known:
        return NOT_MEASURED
    fullest = max(known, key=lambda snapshot: snapshot.queued or 0)
    return f"at most {fullest.queued} messages, longest queue {fullest.longest_queue or 'none'}"


def outboxes_text(snapshots: Sequence[SuiteSnapshot]) -> str:
    """Return the maximum number of unsent messages and the maximum age of the oldest."""
    rows = known_values(snapshots, lambda snapshot: snapshot.outbox_rows)
    ages_s = known_values(snapshots, lambda snapshot: snapshot.outbox_oldest_s)
    return f"at most {max(rows):.0f} unsent messages, oldest {max(ages_s):.1f} s" if rows and ages_s else NOT_MEASURED


def utilization_text(snapshots: Sequence[SuiteSnapshot]) -> str:
    """Return the loads of admission control whose maximum reached MIN_SHOWN_UTILIZATION of the limit."""
    loads = {name for snapshot in snapshots for name in snapshot.utilization}
    peaks = {name: max(snapshot.utilization.get(name, 0.0) for snapshot in snapshots) for name in sorted(loads)}
    high = ", ".join(f"{name} {share:.0%}" for name, share in peaks.items() if share >= MIN_SHOWN_UTILIZATION)
    return high or (f"all below {MIN_SHOWN_UTILIZATION:.0%}" if loads else NOT_MEASURED)


def check_mark(check: BurstCheck) -> str:
    """Return the result of ``check`` in a word or two."""
    if not check.due:
        return "not due yet"
    return {True: "ok", False: "FAILED", None: NOT_MEASURED}[check.ok]
