"""`prebook coupling`: the scorecard, and the check against the level of control over each party."""

import sys
from importlib import import_module
from pathlib import Path

import msgspec
import rich_click as click

from prebook.cli.coupling.operation_figures import MEASURE, read_plan_operations
from prebook.cli.coupling.tables import EXTERNAL_COLUMNS, FLOW_COLUMNS, PLAN_COLUMNS, operations_table, table_of
from prebook.cli.pipe.city_feed import CITY_FEED_EDGE
from prebook.cli.topology import load_model, load_policies, load_subscriptions, policies_option
from prebook.contracts.plan import Coupling
from prebook.devstack.command_line import UserErrorGroup, examples
from prebook.devstack.parameters import combine, json_option
from prebook.devstack.terminal import PlainConsole, echo, echo_lines
from prebook.flows import FLOWS, PROCESSES
from prebook.messaging.body_codec import CONTENT_TYPES
from prebook.messaging.policy import default_plan
from prebook.runtime.paths import ride_figures_files
from prebook.topology.coupling_check import BLIND_SPOTS, tight_edges
from prebook.topology.coupling_model import CouplingModel
from prebook.topology.external_edges import ExternalEdge
from prebook.topology.ride_subscriptions import ride_subscription_edges
from prebook.topology.scorecard import external_scores, flow_scores, plan_scores, uniform_plans

THIS_PLAN = "this plan"
EXAMPLES = examples(
    "prebook coupling scorecard",
    "prebook coupling check                           exit status 1 on a tight edge to a party of low control",
    "prebook coupling check --coupling sync_api",
)

plan_options = combine(
    click.option(
        "--coupling",
        type=click.Choice([each.value for each in Coupling]),
        help="Couple every flow this way instead of its own.",
    ),
    policies_option,
)


@click.group("coupling", cls=UserErrorGroup, epilog=EXAMPLES)
def coupling_group() -> None:
    """Show how tightly the suite is coupled, and check that against the level of control over each party."""


@coupling_group.command(
    epilog=examples("prebook coupling scorecard", "prebook coupling scorecard --json | jq '.plans[].temporal_edges'")
)
@plan_options
@click.option(
    "--figures",
    "figures_paths",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"Operations of a ride: a file of `{MEASURE}`; repeatable, the newest figure of a plan counts. "
    "[default: those in docs/results]",
)
@json_option("Print one prebook.scorecard/1 document.")
def scorecard(*, coupling: str | None, policies_path: Path, figures_paths: tuple[Path, ...], as_json: bool) -> None:
    """Print the coupling of each flow, of each edge to a party outside, and of whole plans.

    Everything follows from the model, except the operations of a ride, which a benchmark has counted.
    """
    model = read_coupling_model(coupling, policies_path)
    operations = read_plan_operations(figures_paths or ride_figures_files())
    flows = flow_scores(model)
    edges = external_scores(model)
    plans = plan_scores(model, [(THIS_PLAN, model.plan), *uniform_plans(model)])
    if as_json:
        scores = {"flows": flows, "external_edges": edges, "plans": plans}
        echo(msgspec.json.encode({"schema": "prebook.scorecard/1", **scores, "operations": operations}))
        return
    console = PlainConsole()
    formats = f"every receiver reads: {', '.join(CONTENT_TYPES)}"
    console.print(table_of("Flows, by coupling; * is the plan's", FLOW_COLUMNS, flows, formats))
    console.print(table_of("Edges to parties outside the suite, in this plan", EXTERNAL_COLUMNS, edges))
    console.print(table_of("Plans", PLAN_COLUMNS, plans))
    console.print(
        operations_table(operations) if operations else f"operations of a ride: not measured; run `{MEASURE}`"
    )


@coupling_group.command(
    epilog=examples("prebook coupling check", "prebook coupling check --coupling sync_api --json | jq .findings")
)
@plan_options
@json_option()
def check(*, coupling: str | None, policies_path: Path, as_json: bool) -> None:
    """Find tight edges to parties of low control: synchronous, without a translator, or sharing a type.

    Each finding says what to do. Exit status 1 if there is one. What the check cannot see is printed too.
    """
    found = tight_edges(read_coupling_model(coupling, policies_path))
    if as_json:
        echo(msgspec.json.encode({"findings": found, "blind_spots": BLIND_SPOTS}))
    else:
        count = f"{len(found) or 'no'} tight edge{'' if len(found) == 1 else 's'} to parties of low control"
        echo_lines([*map(str, found), count, "not seen:", *(f"  {each}" for each in BLIND_SPOTS)])
    sys.exit(1 if found else 0)


def read_coupling_model(coupling: str | None, policies_path: Path) -> CouplingModel:
    """Return the model of the suite, with ``coupling`` for every flow if it is given. Raises click.UsageError."""
    subscriptions = load_subscriptions(policies_path)
    return CouplingModel(
        plan=dict.fromkeys(FLOWS, Coupling(coupling)) if coupling else default_plan(load_policies(policies_path)),
        external_edges=(*service_edges(), CITY_FEED_EDGE, *ride_subscription_edges(subscriptions)),
        read_grants=load_model(policies_path).read_grants,
    )


def service_edges() -> tuple[ExternalEdge, ...]:
    """Return the external edges that the services declare."""
    services = (import_module(f"prebook.{name}.app").SERVICE for name in PROCESSES)
    return tuple(edge for service in services for edge in service.external_edges)
