"""`prebook capacity`: the size of a deployment for a rate of rides, and the check of the model on this machine."""

import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import msgspec
import rich_click as click

from prebook.contracts.plan import Coupling
from prebook.devstack.command_line import examples, log_to_stderr, run_interruptible
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import POSITIVE, json_option
from prebook.devstack.terminal import PlainConsole, echo
from prebook.flows import SERVICES
from prebook.kubernetes.cluster import read_cluster_settings
from prebook.kubernetes.scaling import max_useful_replicas, messages_per_replica
from prebook.lab.bench.command import check_writable
from prebook.lab.capacity import tables
from prebook.lab.capacity.assumptions import Assumptions, list_assumptions
from prebook.lab.capacity.costs import costs_of, read_costs
from prebook.lab.capacity.measurement import record_capacity
from prebook.lab.capacity.recording import RECORDING_FILE, encode_recording, read_recording
from prebook.lab.capacity.replay import replay_burst, replayed_load, trigger_sets
from prebook.lab.capacity.simulation import simulate_burst
from prebook.lab.capacity.sizing import CapacityModel, Deployment
from prebook.lab.capacity.stages import cell_processors
from prebook.lab.capacity.verdict import predictions
from prebook.lab.capacity.walls import find_walls
from prebook.messaging.errors import InvalidPolicies
from prebook.messaging.policy import Policies, read_policies, retry_delays_s
from prebook.runtime.paths import couplings_file, kubernetes_dir
from prebook.topology.archive import read_archive_retention
from prebook.topology.model import suite_topology
from prebook.topology.values import QUORUM

COSTS_FILE = Path(__file__).parents[4] / "docs" / "results" / "ride-costs.json"
CONSOLE_WIDTH = 150
ASSUMABLE = tuple(each.name for each in fields(Assumptions))
FILE = click.Path(dir_okay=False, resolve_path=True, path_type=Path)
EXAMPLES = examples(
    "prebook capacity --rides 1000",
    "prebook capacity --rides 100000 --json | jq .capacity.cells",
    "prebook capacity --rides 500 --assume node_cores=8 --assume database_cores=16",
    "prebook capacity --rides 1000 --burst 3       a burst of three times the rate, simulated",
    "prebook capacity check                        measure this machine, and compare",
    "prebook capacity autoscaler                   replay a burst through the autoscaler's formulas",
)


@click.group(invoke_without_command=True, epilog=EXAMPLES)
@click.option("--rides", type=POSITIVE, help="Rides per second to size the deployment for.")
@click.option(
    "--plan",
    type=click.Choice([coupling.value for coupling in Coupling]),
    default=Coupling.REQUEST_REPLY.value,
    show_default=True,
    help="Coupling of all flows, whose costs the file has to have.",
)
@click.option(
    "--costs",
    "costs_path",
    type=FILE,
    default=COSTS_FILE,
    show_default="docs/results/ride-costs.json",
    help="Costs of a ride, from `prebook bench --only ride --save-baseline FILE`.",
)
@click.option(
    "--assume",
    "assumed",
    multiple=True,
    metavar="NAME=VALUE",
    help=f"Replace an assumption; repeatable. Names: {', '.join(ASSUMABLE)}.",
)
@click.option(
    "--burst", "burst_factor", type=POSITIVE, help="Simulate a minute at this multiple of the rate in one cell."
)
@json_option()
@click.pass_context
def capacity(
    ctx: click.Context,
    *,
    rides: float | None,
    plan: str,
    costs_path: Path,
    assumed: Sequence[str],
    burst_factor: float | None,
    as_json: bool,
) -> None:
    """Size a deployment: nodes, replicas, partitions, queue leaders and connections for a rate of rides.

    The figures follow from the measured cost of a ride and from the printed assumptions; docs/capacity.md has the
    formulas. The walls are the rates at which a part of one cell is full, whatever the number of replicas.
    """
    if ctx.invoked_subcommand:
        return
    if rides is None:
        raise click.UsageError("name a rate with --rides, such as --rides 1000, or a subcommand")
    assumptions = parse_assumptions(assumed)
    model = CapacityModel(Coupling(plan), read_costs(costs_path, plan), read_deployment(), assumptions)
    size, walls = model.size(rides), find_walls(model)
    outcome = None
    if burst_factor:
        rate = size.cell.rides_per_s
        outcome = simulate_burst(
            cell_processors(model, rate), [burst_factor * rate] * tables.BURST_S, steady_per_s=rate
        )
    if as_json:
        document = {
            "capacity": size,
            "walls": walls,
            "costs": model.costs,
            "assumptions": list_assumptions(assumptions),
        }
        summary = tables.burst_summary(outcome) if outcome else None
        echo(msgspec.json.encode(document | ({"burst": summary} if summary else {})))
        return
    console = PlainConsole(width=None if sys.stdout.isatty() else CONSOLE_WIDTH)
    console.print(*tables.capacity_view(model, size, walls, outcome), sep="\n")


@capacity.command(
    epilog=examples(
        "prebook capacity check",
        "prebook capacity check --output capacity.json",
        "prebook capacity check --recording capacity.json    judge a stored measurement",
    )
)
@click.option(
    "--plan",
    type=click.Choice([coupling.value for coupling in Coupling]),
    default=Coupling.REQUEST_REPLY.value,
    show_default=True,
    help="Coupling of all flows.",
)
@click.option("--recording", "recording_path", type=FILE, help="Judge this stored measurement; measure nothing.")
@click.option("--output", "output_path", type=FILE, callback=check_writable, help="Write the measurement to this file.")
@json_option()
def check(*, plan: str, recording_path: Path | None, output_path: Path | None, as_json: bool) -> None:
    """Measure cost, knee and a burst of a temporary suite on this machine, and compare them with the model.

    Takes about four minutes; run it on an otherwise idle machine. Exit status 1 if the predicted knee, or the rides
    settled in the burst, differ from the measured ones by more than a fifth.
    """
    if recording_path:
        recording = read_recording(recording_path)
    else:
        recording = run_interruptible(record_capacity(plan, log_to_stderr))
    if output_path:
        output_path.write_bytes(encode_recording(recording))
    found = predictions(recording)
    if as_json:
        echo(
            msgspec.json.encode(
                [{**msgspec.structs.asdict(each), "ratio": each.ratio, "ok": each.ok} for each in found]
            )
        )
    else:
        PlainConsole(width=None if sys.stdout.isatty() else CONSOLE_WIDTH).print(tables.prediction_table(found))
    sys.exit(0 if all(each.ok for each in found) else 1)


@capacity.command(
    epilog=examples(
        "prebook capacity autoscaler",
        "prebook capacity autoscaler --peak 600 --back-pressure on",
    )
)
@click.option(
    "--recording",
    "recording_path",
    type=FILE,
    default=RECORDING_FILE,
    show_default="docs/results/capacity-recording.json",
    help="Measurement with the seconds of a burst, from `prebook capacity check --output FILE`.",
)
@click.option(
    "--peak", type=POSITIVE, default=1200.0, show_default=True, help="Rate to which the recorded burst is scaled."
)
@click.option(
    "--back-pressure",
    type=click.Choice(["on", "off"]),
    default="off",
    show_default=True,
    help="Whether booking refuses rides that would wait too long.",
)
@json_option()
def autoscaler(*, recording_path: Path, peak: float, back_pressure: str, as_json: bool) -> None:
    """Replay a recorded burst through KEDA's formulas, for every mode of its RabbitMQ trigger.

    Arrivals are recorded, queues are simulated with the recorded cost of a ride, and replicas follow the autoscaler's
    arithmetic within deploy/kubernetes/cluster.toml. Takes about a minute. Exit status 1 if a service ever has more
    replicas than partitions.
    """
    recording = read_recording(recording_path)
    policies, archive_bytes = _read_couplings()
    costs = costs_of(recording.plan, recording.costs, recording_path.name)
    model = CapacityModel(Coupling(recording.plan), costs, deployment_of(policies, archive_bytes), Assumptions())
    sizes = read_cluster_settings(kubernetes_dir() / "cluster.toml").services
    load = replayed_load(recording.burst, peak)
    outcomes = [
        replay_burst(triggers, load, model, sizes, has_admission=back_pressure == "on")
        for triggers in trigger_sets(messages_per_replica(policies))
    ]
    if as_json:
        echo(msgspec.json.encode(outcomes))
    else:
        PlainConsole(width=None if sys.stdout.isatty() else CONSOLE_WIDTH).print(tables.replay_table(outcomes))
    sys.exit(0 if all(outcome.max_above_partitions <= 0 for outcome in outcomes) else 1)


def parse_assumptions(assumed: Sequence[str]) -> Assumptions:
    """Return the assumptions with those replaced that NAME=VALUE texts name. Raises click.UsageError."""
    assumptions = Assumptions()
    for text in assumed:
        name, separator, value = text.partition("=")
        if name not in ASSUMABLE or not separator:
            raise click.UsageError(f"--assume {text}: give one of {', '.join(ASSUMABLE)}, as NAME=VALUE")
        number = POSITIVE.convert(value, None, None)
        kind = type(getattr(assumptions, name))
        if kind is int and not number.is_integer():
            raise click.UsageError(f"--assume {text}: {name} is a whole number")
        assumptions = replace(assumptions, **{name: kind(number)})
    if assumptions.broker_nodes < 2:  # noqa: PLR2004 - one node has no other that takes over
        raise click.UsageError("--assume broker_nodes: a cell has at least 2")
    return assumptions


def read_deployment() -> Deployment:
    """Read what the model needs from topology and policies. Raises UserError."""
    return deployment_of(*_read_couplings())


def _read_couplings() -> tuple[Policies, int]:
    """Return the policies, and the maximum size of the archive. Raises UserError."""
    try:
        return read_policies(couplings_file()), read_archive_retention(couplings_file()).max_bytes
    except InvalidPolicies as error:
        raise UserError(str(error), "correct the file, or name another one in PREBOOK_COUPLINGS") from error


def deployment_of(policies: Policies, archive_bytes: int) -> Deployment:
    """Return quorum queues, partitions and the archive's size of the suite's topology."""
    queues = suite_topology(retry_delays_s(policies)).queues
    bounds = {service: max_useful_replicas(service, policies) for service in SERVICES}
    return Deployment(
        quorum_queues=sum(set(QUORUM) <= set(queue.arguments) for queue in queues),
        partitions={service: bound for service, bound in bounds.items() if bound},
        archive_bytes=archive_bytes,
    )
