"""`prebook topology`: draw, declare, compare and document what the broker holds."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
import rich_click as click

from prebook.cli.suite_access import BrokerNotFound, find_broker
from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.messaging.policy import InvalidPolicies, Policies, default_plan, read_policies, retry_delays_s
from prebook.rabbit.management import BrokerRefused, BrokerUnreachable, ManagementClient
from prebook.runtime.paths import couplings_file
from prebook.topology.asyncapi import asyncapi_document
from prebook.topology.check import Difference, differences
from prebook.topology.diagrams import mermaid_diagram, svg_diagram
from prebook.topology.model import plan_topology, suite_topology

T = TypeVar("T")
EXIT_IN_SYNC, EXIT_DRIFTED, EXIT_UNREACHABLE = 0, 1, 2
SUBTITLE = "Who sends what to whom, and who decides when it moves."

policies_option = click.option(
    "--policies",
    "policies_path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="PREBOOK_COUPLINGS",
    default=couplings_file,
    show_default="deploy/couplings.toml",
    help="The plan and the policies of every flow.",
)
output_option = click.option("--into", type=click.Path(path_type=Path, dir_okay=False), help="A file; else to stdout.")
json_option = click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document on stdout.")


@click.group()
def topology() -> None:
    """What the broker holds: drawn, declared, compared, documented."""


@topology.command(epilog="Example: prebook topology draw --coupling one_way --into one_way.svg")
@click.option("--format", "form", type=click.Choice(["svg", "mermaid"]), default="svg", show_default=True)
@click.option("--coupling", type=click.Choice([c.value for c in Coupling]), help="Every flow this way, not by plan.")
@click.option("--flow", "named", multiple=True, type=click.Choice(list(FLOWS)), help="This flow only; may be repeated.")
@policies_option
@output_option
@json_option
def draw(
    *,
    drawing_format: str,
    coupling: str | None,
    flow_names: tuple[str, ...],
    policies_path: Path,
    output: Path | None,
    as_json: bool,
) -> None:
    """Draw data flow (where arrows point) and control flow (solid: pushed, dashed: pulled)."""
    plan = dict.fromkeys(FLOWS, Coupling(coupling)) if coupling else default_plan(load_policies(policies_path))
    chosen = plan_topology(plan, [FLOWS[n] for n in flow_names], ()) if flow_names else plan_topology(plan)
    title = f"Every flow as {coupling}" if coupling else "Prebook's plan"
    drawn = (
        mermaid_diagram(chosen) if drawing_format == "mermaid" else svg_diagram(chosen, title=title, subtitle=SUBTITLE)
    )
    _write_output(
        json.dumps({"format": drawing_format, "plan": plan, "drawing": drawn}) + "\n" if as_json else drawn, output
    )


@topology.command(epilog="Example: prebook topology asyncapi --into asyncapi.json")
@policies_option
@output_option
@click.option("--json", is_flag=True, expose_value=False, help="It always is JSON.")
def asyncapi(policies_path: Path, output: Path | None) -> None:
    """Write the AsyncAPI 3.0 document of every message on the broker."""
    described = asyncapi_document(suite_topology(retry_delays_s(load_policies(policies_path))))
    _write_output(json.dumps(described, indent=2) + "\n", output)


@topology.command(epilog="Example: prebook topology declare --passwords passwords.json")
@click.option(
    "--passwords",
    "passwords_path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="PREBOOK_ROLE_PASSWORDS_FILE",
    help='JSON, service to password: {"booking": "..."}. Needed for users that are not there yet.',
)
@policies_option
@json_option
def declare(passwords_path: Path | None, policies_path: Path, as_json: bool) -> None:
    """Create what is missing on the broker, and change what may be changed. Removes nothing."""
    wanted, passwords = suite_topology(retry_delays_s(load_policies(policies_path))), _read_passwords(passwords_path)
    steps: list[str] = []

    def told(step: str) -> None:
        steps.append(step)
        if not as_json:
            click.echo(step)

    _run_on_broker(lambda broker: broker.declare(wanted, passwords, told))
    click.echo(json.dumps({"declared": steps}) if as_json else f"declared: {len(steps)} things are as the model says")


@topology.command(epilog="Exit status: 0 in sync, 1 drift, 2 no broker reached.")
@policies_option
@json_option
def diff(policies_path: Path, as_json: bool) -> None:
    """Compare the model with a live broker; each difference comes with its remedy."""
    wanted = suite_topology(retry_delays_s(load_policies(policies_path)))

    async def compared(broker: ManagementClient) -> list[Difference]:
        return differences(wanted, await broker.read_live_broker(), frozenset({broker.user}))

    found = _run_on_broker(compared)
    if as_json:
        click.echo(msgspec.json.encode({"in_sync": not found, "differences": found}))
    else:
        click.echo("\n".join(map(str, found)) or "in sync")
    sys.exit(EXIT_DRIFTED if found else EXIT_IN_SYNC)


def _run_on_broker(work: Callable[[ManagementClient], Awaitable[T]]) -> T:
    async def run() -> T:
        async with find_broker() as broker:
            return await work(broker)

    try:
        return asyncio.run(run())
    except (BrokerNotFound, BrokerUnreachable, BrokerRefused) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_UNREACHABLE)


def load_policies(path: Path) -> Policies:
    try:
        return read_policies(path)
    except InvalidPolicies as error:
        raise click.UsageError(f"{error}; name the file with --policies") from error


def _read_passwords(path: Path | None) -> Mapping[str, str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str]) if path else {}
    except (OSError, msgspec.DecodeError) as error:
        raise click.UsageError(f"{path}: {error}; it must be a JSON object, service to password") from error


def _write_output(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text)
        click.echo(f"wrote {output}", err=True)
