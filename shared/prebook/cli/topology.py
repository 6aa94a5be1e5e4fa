"""`prebook topology`: draw, declare, compare and document the model of exchanges, queues and users."""

import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
import rich_click as click

from prebook.cli.pipe.city_feed import CITY_FEED_TOPOLOGY
from prebook.cli.suite_access import find_broker
from prebook.contracts.plan import Coupling
from prebook.devstack import command_line
from prebook.devstack.command_line import examples, log_to_stderr, print_user_error
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import json_option
from prebook.devstack.terminal import echo
from prebook.flows import FLOWS
from prebook.messaging import addresses
from prebook.messaging.errors import InvalidPolicies
from prebook.messaging.policy import Policies, default_plan, read_policies, retry_delays_s
from prebook.rabbit.errors import BrokerRefused, BrokerUnreachable
from prebook.rabbit.management import ManagementClient
from prebook.runtime.paths import couplings_file
from prebook.text_file import read_text
from prebook.topology.access import OBSERVER_TOPOLOGY
from prebook.topology.archive import RetentionPolicy, read_archive_retention
from prebook.topology.asyncapi import asyncapi_document
from prebook.topology.check import Difference, LiveBroker, differences
from prebook.topology.diagrams import mermaid_diagram
from prebook.topology.model import plan_topology, suite_topology, union
from prebook.topology.pictures import flow_picture, resource_picture
from prebook.topology.resource_view import resource_mermaid
from prebook.topology.ride_subscriptions import RideSubscriptions, read_ride_subscriptions
from prebook.topology.values import Topology

T = TypeVar("T")
EXIT_IN_SYNC = 0
EXIT_DRIFTED = 1
EXIT_NOT_COMPARED = 2
"""Exit status of `prebook topology diff` if the broker cannot be read, as diff(1) has one for trouble."""

policies_option = click.option(
    "--policies",
    "policies_path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="PREBOOK_COUPLINGS",
    default=couplings_file,
    show_default="deploy/couplings.toml",
    help="File with the plan, the policy of every flow, and the subscriptions to confirmed rides.",
)
output_option = click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write to. [default: stdout]"
)


@click.group()
def topology() -> None:
    """Draw, declare, compare and document what the broker holds, from one typed model."""


@topology.command(
    epilog=examples(
        "prebook topology draw --coupling one_way --output one_way.svg",
        "prebook topology draw --view resources --output resources.svg",
    )
)
@click.option(
    "--view",
    type=click.Choice(["flow", "resources"]),
    default="flow",
    show_default=True,
    help="Draw who sends what to whom, or what the broker contains.",
)
@click.option(
    "--format",
    "drawing_format",
    type=click.Choice(["svg", "mermaid"]),
    default="svg",
    show_default=True,
    help="Format of the drawing.",
)
@click.option(
    "--coupling",
    type=click.Choice([c.value for c in Coupling]),
    help="Draw every flow with this coupling instead of its own.",
)
@click.option(
    "--flow", "flow_names", multiple=True, type=click.Choice(list(FLOWS)), help="Draw only this flow; repeatable."
)
@policies_option
@output_option
@json_option()
def draw(
    *,
    view: str,
    drawing_format: str,
    coupling: str | None,
    flow_names: tuple[str, ...],
    policies_path: Path,
    output: Path | None,
    as_json: bool,
) -> None:
    """Draw data flow (direction of the arrows) and control flow (solid: pushed, dashed: pulled), or the resources.

    The resources are those of the suite, the same for every plan.
    """
    plan = dict.fromkeys(FLOWS, Coupling(coupling)) if coupling else default_plan(load_policies(policies_path))
    if flow_names:
        model = plan_topology(plan, [FLOWS[name] for name in flow_names], ())
    else:
        model = plan_topology(plan, subscriptions=load_subscriptions(policies_path))
    title = f"Every flow as {coupling}" if coupling else "Prebook's plan"
    is_mermaid = drawing_format == "mermaid"
    if view == "resources":
        suite = load_model(policies_path)
        drawing = resource_mermaid(suite) if is_mermaid else resource_picture(suite)
    else:
        drawing = mermaid_diagram(model) if is_mermaid else flow_picture(model, title)
    document = json.dumps({"format": drawing_format, "plan": plan, "drawing": drawing}) + "\n"
    _write_output(document if as_json else drawing, output)


@topology.command(epilog=examples("prebook topology asyncapi --output asyncapi.json"))
@policies_option
@output_option
@click.option("--json", is_flag=True, expose_value=False, help="Accepted for uniformity; the output always is JSON.")
def asyncapi(policies_path: Path, output: Path | None) -> None:
    """Write the AsyncAPI 3.0 document of every message on the broker."""
    document = asyncapi_document(load_model(policies_path))
    _write_output(json.dumps(document, indent=2) + "\n", output)


@topology.command(epilog=examples("prebook topology declare --passwords passwords.json"))
@click.option(
    "--passwords",
    "passwords_path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="PREBOOK_ROLE_PASSWORDS_FILE",
    help='JSON file, service to password: {"booking": "..."}. Needed for users that do not exist yet.',
)
@policies_option
@json_option()
def declare(passwords_path: Path | None, policies_path: Path, as_json: bool) -> None:
    """Create what the broker lacks, and change what may be changed. Removes nothing."""
    model = load_model(policies_path)
    passwords = _read_passwords(passwords_path)
    steps: list[str] = []

    def record(step: str) -> None:
        steps.append(step)
        if not as_json:
            echo(step)

    _run_on_broker(lambda broker: broker.declare(model, passwords, record))
    echo(json.dumps({"declared": steps}) if as_json else f"declared: {len(steps)} object(s) as in the model")


@topology.command(epilog="Exit status: 0 in sync, 1 drift, 2 the broker cannot be read.")
@policies_option
@json_option()
def diff(policies_path: Path, as_json: bool) -> None:
    """Compare the model with a live broker, and print each difference with its remedy.

    The queue of `prebook pipe` and the observer of an autoscaler belong to the model while they exist.
    """
    model = load_model(policies_path)

    async def compare(broker: ManagementClient) -> list[Difference]:
        live = await broker.read_live_broker()
        return differences(model | _optional_parts(model, live), live, frozenset({broker.user}))

    try:
        found = _run_on_broker(compare)
    except UserError as error:
        print_user_error(error)
        sys.exit(EXIT_NOT_COMPARED)
    if as_json:
        echo(msgspec.json.encode({"in_sync": not found, "differences": found}))
    else:
        echo("\n".join(map(str, found)) or "in sync")
    sys.exit(EXIT_DRIFTED if found else EXIT_IN_SYNC)


def _optional_parts(model: Topology, live: LiveBroker) -> Topology:
    """Return the parts of the model that only some brokers have, as far as this one has them."""
    has_feed = bool((CITY_FEED_TOPOLOGY.queues - model.queues) & live.queues)
    has_observer = addresses.broker_user(addresses.OBSERVER) in {permission.user for permission in live.permissions}
    return union([CITY_FEED_TOPOLOGY] * has_feed + [OBSERVER_TOPOLOGY] * has_observer)


def _run_on_broker(work: Callable[[ManagementClient], Awaitable[T]]) -> T:
    """Run ``work`` on the broker. Raises UserError if there is none, or if it is unreachable or refuses."""

    async def run() -> T:
        async with find_broker() as broker:
            return await work(broker)

    try:
        return command_line.run_interruptible(run())
    except (BrokerUnreachable, BrokerRefused) as error:
        remedy = "check the broker, and the address and user of its management API"
        raise UserError(str(error), remedy) from error


def load_policies(path: Path) -> Policies:
    """Read the policies of the flows from ``path``. Raises click.UsageError if they are invalid."""
    try:
        return read_policies(path)
    except InvalidPolicies as error:
        raise click.UsageError(f"{error}; name the file with --policies") from error


def load_subscriptions(path: Path) -> RideSubscriptions:
    """Read the subscriptions to confirmed rides from ``path``. Raises click.UsageError if they are invalid."""
    try:
        return read_ride_subscriptions(path)
    except InvalidPolicies as error:
        raise click.UsageError(f"{error}; name the file with --policies") from error


def load_archive_retention(path: Path) -> RetentionPolicy:
    """Read the retention of the archive from ``path``. Raises click.UsageError if it is invalid."""
    try:
        return read_archive_retention(path)
    except InvalidPolicies as error:
        raise click.UsageError(f"{error}; name the file with --policies") from error


def load_model(path: Path) -> Topology:
    """Return the topology of a suite with the policies and further tables of ``path``. Raises click.UsageError."""
    delays_s = retry_delays_s(load_policies(path))
    return suite_topology(delays_s, subscriptions=load_subscriptions(path), archive=load_archive_retention(path))


def _read_passwords(path: Path | None) -> Mapping[str, str]:
    """Read passwords by account; empty without a file. Raises click.UsageError."""
    try:
        return msgspec.json.decode(read_text(path), type=dict[str, str]) if path else {}
    except (OSError, msgspec.DecodeError) as error:
        raise click.UsageError(f"{path}: {error}; it must be a JSON object, service to password") from error


def _write_output(text: str, output: Path | None) -> None:
    if output is None:
        echo(text.encode(), nl=False)
    else:
        try:
            output.write_text(text)
        except OSError as error:
            raise click.UsageError(f"cannot write {output}: {error}; choose another file") from error
        log_to_stderr(f"wrote {output}")
