"""Tables of the capacity model for a terminal."""

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from prebook.lab.capacity.assumptions import list_assumptions
from prebook.lab.capacity.costs import BROKER, DATABASE
from prebook.lab.capacity.replay import ReplayOutcome
from prebook.lab.capacity.simulation import BurstOutcome
from prebook.lab.capacity.sizing import BrokerSize, Capacity, CapacityModel, DatabaseSize, ServiceSize
from prebook.lab.capacity.verdict import Prediction
from prebook.lab.capacity.walls import Wall

BURST_S = 60
"""Duration of a simulated burst."""


def capacity_view(
    model: CapacityModel, size: Capacity, walls: Sequence[Wall], outcome: BurstOutcome | None
) -> Iterator[Table | str]:
    """Yield the tables of a deployment, its walls and what it assumes."""
    cell = size.cell
    cells = "one cell" if size.cells == 1 else f"{size.cells} cells of {cell.rides_per_s:,.0f} rides/s"
    total = size.cells * cell.replicas
    yield f"{size.rides_per_s:,g} rides/s by {model.coupling}: {cells}, {total:,} replicas"
    yield f"Costs of a ride: {model.costs.source}"
    yield _service_table(model, cell.services)
    yield _figure_table(
        "Servers of one cell", [*_node_rows(model, size), *_broker_rows(cell.broker), *_database_rows(cell.database)]
    )
    if outcome:
        yield _figure_table(f"Simulated burst of {BURST_S} s in one cell", [*burst_summary(outcome).items()])
    yield _wall_table(walls, cell.rides_per_s)
    yield _assumption_table(model)


def prediction_table(found: Sequence[Prediction]) -> Table:
    """Return the comparison of the model with a measurement."""
    table = _table("The model beside the measurement", "figure", "predicted", "measured", "unit", "ratio", "accepted")
    for each in found:
        accepted = "shown only" if each.tolerance is None else f"{1 - each.tolerance:g} to {1 + each.tolerance:g}"
        verdict = accepted if each.ok else f"{accepted}: NOT MET"
        table.add_row(
            each.name, f"{each.predicted:.1f}", f"{each.measured:.1f}", each.unit, f"{each.ratio:.2f}", verdict
        )
    return table


def replay_table(outcomes: Sequence[ReplayOutcome]) -> Table:
    """Return what each set of triggers made of a burst."""
    columns = ("triggers", "oldest request, s", "late, s", "most replicas", "replica minutes", "flaps", "refused, %")
    table = _table("A burst, replayed through the autoscaler", *columns)
    for each in outcomes:
        figures = (each.oldest_s, each.late_s, each.max_replicas, each.replica_minutes, each.flaps, each.refused)
        table.add_row(each.triggers, *map(str, figures))
    return table


def burst_summary(outcome: BurstOutcome) -> dict[str, str | float]:
    """Return the figures of a simulated burst."""
    return {
        "settled, rides/s": round(outcome.settled_per_s, 1),
        "refused, rides": round(outcome.refused),
        "oldest request, s": round(outcome.oldest_s, 1),
        "settled after the burst, s": outcome.drained_after_s,
    }


def _service_table(model: CapacityModel, services: Sequence[ServiceSize]) -> Table:
    columns = ("service", "ms a ride", "standing cores", "replicas", "partitions", "cores used", "busiest replica")
    table = _table("Services of one cell", *columns)
    for size in services:
        cost = model.costs.processes[size.service]
        figures = (
            f"{cost.ms_per_ride:.2f}",
            f"{cost.standing_cores:.3f}",
            str(size.replicas),
            str(size.partitions or ""),
        )
        table.add_row(size.service, *figures, f"{size.cores:.1f}", f"{size.busiest_share:.0%}")
    return table


def _node_rows(model: CapacityModel, size: Capacity) -> Iterator[tuple[str, str]]:
    cores = model.assumptions.node_cores
    yield (
        "nodes for services",
        f"{size.cell.service_nodes} of {cores} cores ({size.cells * size.cell.service_nodes:,} in all)",
    )


def _broker_rows(broker: BrokerSize) -> Iterator[tuple[str, str]]:
    per_node = f"{broker.cores_per_node:.1f}, {broker.cores_per_node_with_one_lost:.1f} with one lost"
    yield f"{BROKER}: cores used of each of {broker.nodes} nodes", per_node
    yield f"{BROKER}: queue leaders of each node", str(broker.queue_leaders_per_node)
    yield f"{BROKER}: messages", f"{broker.messages_per_s:,.0f} /s"
    yield f"{BROKER}: busiest queue", f"{broker.busiest_queue}, {broker.busiest_queue_per_s:,.0f} /s"


def _database_rows(database: DatabaseSize) -> Iterator[tuple[str, str]]:
    yield f"{DATABASE}: cores of the primary used", f"{database.primary_cores:.1f} ({database.instances} instances)"
    connections = f"{database.connections:,}, {database.connections_at_roll_out:,} during a roll-out"
    yield f"{DATABASE}: connections", connections
    yield f"{DATABASE}: transactions", f"{database.transactions_per_s:,.0f} /s"
    yield f"{DATABASE}: write-ahead log", f"{database.wal_bytes_per_s / 1e6:,.1f} MB/s"
    for name, rows, size in (
        ("outboxes", database.outbox_rows, database.outbox_bytes),
        ("inboxes", database.inbox_rows, database.inbox_bytes),
    ):
        yield f"{DATABASE}: {name}, at this rate day and night", f"{rows:,.0f} rows, {size / 1e9:,.0f} GB"
    yield f"{BROKER}: the archive covers", f"{database.archive_hours:,.2f} hours"


def _wall_table(walls: Sequence[Wall], rides_per_s: float) -> Table:
    table = _table("Walls of one cell, the first one first", "rides/s", "part", "way out", "")
    for wall in walls:
        reached = "below this rate" if wall.rides_per_s < rides_per_s else ""
        table.add_row(f"{wall.rides_per_s:,.0f}", wall.part, wall.remedy, reached)
    return table


def _assumption_table(model: CapacityModel) -> Table:
    table = _table("Assumptions (--assume NAME=VALUE)", "name", "value", "unit", "reason")
    for each in list_assumptions(model.assumptions):
        table.add_row(each.name, f"{each.value:,g}", each.unit, each.reason)
    return table


def _figure_table(title: str, rows: Sequence[tuple[str, str | float]]) -> Table:
    table = _table(title, "figure", "value")
    for name, value in rows:
        table.add_row(name, str(value))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column)
    return table
