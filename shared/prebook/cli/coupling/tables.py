"""Tables of the scorecard for people."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from rich.table import Table

from prebook.cli.coupling.operation_figures import MEASURE, PlanOperations
from prebook.topology.scorecard import ExternalScore, FlowScore, PlanScore

T = TypeVar("T")
Columns = Sequence[tuple[str, Callable[[T], object]]]
"""Heading of each column, and what it shows of a row."""
NONE = "-"

FLOW_COLUMNS: Columns[FlowScore] = (
    ("flow", lambda s: s.flow),
    ("coupling", lambda s: f"{s.coupling} *" if s.is_chosen else s.coupling),
    ("far side", lambda s: f"{s.provider}: {s.control}"),
    ("leads to", lambda s: [f"{party}: {control}" for party, control in s.leads_to.items()]),
    ("who waits", lambda s: [f"{waiting} for {awaited}" for waiting, awaited in s.temporal_edges]),
    ("addresses known", lambda s: s.known_addresses),
    ("types", lambda s: len(s.shared_types)),
    ("hops", lambda s: s.hops),
    ("messages", lambda s: s.broker_messages),
    ("HTTP requests", lambda s: s.http_requests),
)
EXTERNAL_COLUMNS: Columns[ExternalScore] = (
    ("edge", lambda s: s.edge),
    ("party", lambda s: s.party),
    ("control", lambda s: s.control),
    ("contact", lambda s: s.contact),
    ("for", lambda s: s.trigger),
    ("decoupled by", lambda s: s.decoupled_by),
    ("who waits", lambda s: s.waiting),
    ("limit, s", lambda s: s.max_wait_s),
    ("translators", lambda s: len(s.translators)),
    ("messages seen", lambda s: s.shared_types),
    ("values seen", lambda s: s.shared_values),
)
PLAN_COLUMNS: Columns[PlanScore] = (
    ("plan", lambda s: s.plan),
    ("temporal edges", lambda s: s.temporal_edges),
    ("services up at once", lambda s: s.up_at_once),
    ("known addresses", lambda s: s.known_addresses),
    ("hops", lambda s: s.hops),
    ("needs the broker", lambda s: s.needs_broker),
    ("waits outside for", lambda s: s.waits_outside),
)


def table_of(title: str, columns: Columns[T], rows: Iterable[T], caption: str = "") -> Table:
    """Return a table with a line for each of ``rows``."""
    table = Table(title=title, caption=caption or None)
    for heading, _ in columns:
        table.add_column(heading)
    for row in rows:
        table.add_row(*(_cell(read(row)) for _, read in columns))
    return table


def operations_table(operations: Sequence[PlanOperations]) -> Table:
    """Return the operations of a ride by plan, with the file that each row comes from."""
    names = sorted({name for plan in operations for name in plan.counts})
    machines = sorted({f"{plan.source}: {plan.machine}, {plan.versions}" for plan in operations})
    table = Table(title=f"Operations of one ride, counted by `{MEASURE}`", caption="\n".join(machines))
    for heading in ("plan", *names, "measured"):
        table.add_column(heading, justify="right" if heading in names else "left")
    for plan in operations:
        counts = (_count(plan.counts.get(name)) for name in names)
        table.add_row(plan.plan, *counts, f"{plan.measured_on}, {plan.source}")
    return table


def _count(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return "\n".join(map(str, value)) or NONE
    if isinstance(value, float):
        return f"{value:g}"
    return NONE if value is None or value == "" else str(value)
