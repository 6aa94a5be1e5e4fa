"""`prebook topology`: draw, declare, compare and document what the broker holds."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
import rich_click as click

from prebook.cli.suite_access import NoBroker, management
from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.messaging.policy import BadPolicies, Policies, backoffs, default_plan, read_policies
from prebook.rabbit.management import BrokerRefused, BrokerUnreachable, Management
from prebook.runtime.paths import couplings_toml
from prebook.topology.asyncapi import document
from prebook.topology.check import Difference, differences
from prebook.topology.diagrams import mermaid, picture
from prebook.topology.model import suite_topology, topology_of

T = TypeVar("T")
IN_SYNC, DRIFTED, UNREACHABLE = 0, 1, 2
SUBTITLE = "Who sends what to whom, and who decides when it moves."

policies_option = click.option(
    "--policies",
    "policies_path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="PREBOOK_COUPLINGS",
    default=couplings_toml,
    show_default="deploy/couplings.toml",
    help="The plan and the policies of every flow.",
)
into_option = click.option("--into", type=click.Path(path_type=Path, dir_okay=False), help="A file; else to stdout.")
json_option = click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document on stdout.")


@click.group()
def topology() -> None:
    """What the broker holds: drawn, declared, compared, documented."""


@topology.command(epilog="Example: prebook topology draw --coupling one_way --into one_way.svg")
@click.option("--format", "form", type=click.Choice(["svg", "mermaid"]), default="svg", show_default=True)
@click.option("--coupling", type=click.Choice([c.value for c in Coupling]), help="Every flow this way, not by plan.")
@click.option("--flow", "named", multiple=True, type=click.Choice(list(FLOWS)), help="This flow only; may be repeated.")
@policies_option
@into_option
@json_option
def draw(
    *,
    form: str,
    coupling: str | None,
    named: tuple[str, ...],
    policies_path: Path,
    into: Path | None,
    as_json: bool,
) -> None:
    """Draw data flow (where arrows point) and control flow (solid: pushed, dashed: pulled)."""
    plan = dict.fromkeys(FLOWS, Coupling(coupling)) if coupling else default_plan(read(policies_path))
    chosen = topology_of(plan, [FLOWS[n] for n in named], ()) if named else topology_of(plan)
    title = f"Every flow as {coupling}" if coupling else "Prebook's plan"
    drawn = mermaid(chosen) if form == "mermaid" else picture(chosen, title=title, subtitle=SUBTITLE)
    _put(json.dumps({"format": form, "plan": plan, "drawing": drawn}) + "\n" if as_json else drawn, into)


@topology.command(epilog="Example: prebook topology asyncapi --into asyncapi.json")
@policies_option
@into_option
@click.option("--json", is_flag=True, expose_value=False, help="It always is JSON.")
def asyncapi(policies_path: Path, into: Path | None) -> None:
    """Write the AsyncAPI 3.0 document of every message on the broker."""
    described = document(suite_topology(backoffs(read(policies_path))))
    _put(json.dumps(described, indent=2) + "\n", into)


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
    wanted, passwords = suite_topology(backoffs(read(policies_path))), _passwords(passwords_path)
    steps: list[str] = []

    def told(step: str) -> None:
        steps.append(step)
        if not as_json:
            click.echo(step)

    _on_broker(lambda broker: broker.declare(wanted, passwords, told))
    click.echo(json.dumps({"declared": steps}) if as_json else f"declared: {len(steps)} things are as the model says")


@topology.command(epilog="Exit status: 0 in sync, 1 drift, 2 no broker reached.")
@policies_option
@json_option
def diff(policies_path: Path, as_json: bool) -> None:
    """Compare the model with a live broker; each difference comes with its remedy."""
    wanted = suite_topology(backoffs(read(policies_path)))

    async def compared(broker: Management) -> list[Difference]:
        return differences(wanted, await broker.live(), frozenset({broker.user}))

    found = _on_broker(compared)
    if as_json:
        click.echo(msgspec.json.encode({"in_sync": not found, "differences": found}))
    else:
        click.echo("\n".join(map(str, found)) or "in sync")
    sys.exit(DRIFTED if found else IN_SYNC)


def _on_broker(work: Callable[[Management], Awaitable[T]]) -> T:
    async def run() -> T:
        async with management() as broker:
            return await work(broker)

    try:
        return asyncio.run(run())
    except (NoBroker, BrokerUnreachable, BrokerRefused) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(UNREACHABLE)


def read(path: Path) -> Policies:
    try:
        return read_policies(path)
    except BadPolicies as error:
        raise click.UsageError(f"{error}; name the file with --policies") from error


def _passwords(path: Path | None) -> Mapping[str, str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str]) if path else {}
    except (OSError, msgspec.DecodeError) as error:
        raise click.UsageError(f"{path}: {error}; it must be a JSON object, service to password") from error


def _put(text: str, into: Path | None) -> None:
    if into is None:
        click.echo(text, nl=False)
    else:
        into.write_text(text)
        click.echo(f"wrote {into}", err=True)
