"""`prebook plan`: show and change the default plan of the running suite."""

from collections.abc import Sequence
from http import HTTPStatus

import msgspec
import rich_click as click
from rich.table import Table

from prebook.cli.suite_access import ServicesAccess, find_services
from prebook.contracts.default_plan import DefaultPlan, DefaultPlanChange
from prebook.contracts.plan import Coupling
from prebook.devstack import command_line
from prebook.devstack.command_line import examples
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import json_option
from prebook.devstack.terminal import PlainConsole, echo
from prebook.flows import CONSOLE, FLOWS
from prebook.http.client import ServiceClient
from prebook.http.signed_client import SignedHttpClient
from prebook.messaging.errors import Unreachable

PATH = "/v1/default-plan"
REQUEST_TIMEOUT_S = 15.0
CONFIGURED = "configured"
SET_EXAMPLES = examples(
    "prebook plan set one_way",
    "prebook plan set quote_fare=sync_api find_driver=request_reply",
    "prebook plan set quote_fare=configured",
)


@click.group()
def plan() -> None:
    """Show and change the default plan: the coupling of each flow for rides that choose none."""


@plan.command(epilog=examples("prebook plan show", "prebook plan show --json | jq .flows.quote_fare.coupling"))
@json_option()
def show(*, as_json: bool) -> None:
    """Print the coupling of each flow, the configured one, and when an operator changed it."""
    _print(command_line.run_interruptible(_request(find_services(), "GET")), as_json=as_json)


@plan.command("set", epilog=SET_EXAMPLES)
@click.argument("assignments", metavar="[FLOW=]COUPLING...", nargs=-1, required=True)
@json_option()
def set_plan(*, assignments: tuple[str, ...], as_json: bool) -> None:
    """Change the default plan for rides that are booked from now on.

    COUPLING is sync_api, async_api, one_way, request_reply, or configured: as couplings.toml says. Without a FLOW it
    holds for all flows. Rides that have begun keep their plan. A restart keeps the change.
    """
    change = DefaultPlanChange(couplings=parse_assignments(assignments))
    body = msgspec.json.encode(change)
    _print(command_line.run_interruptible(_request(find_services(), "PATCH", body)), as_json=as_json)


def parse_assignments(assignments: Sequence[str]) -> dict[str, Coupling | None]:
    """Return the coupling of each flow that is named, None for the configured one; a later assignment wins.

    Raises BadParameter for an unknown flow or coupling.
    """
    couplings: dict[str, Coupling | None] = {}
    for assignment in assignments:
        flow, separator, name = assignment.rpartition("=")
        if separator and flow not in FLOWS:
            raise click.BadParameter(f"{flow!r} is no flow; flows: {', '.join(FLOWS)}")
        if name not in {CONFIGURED, *Coupling}:
            raise click.BadParameter(f"{name!r} is no coupling; couplings: {', '.join(Coupling)}, {CONFIGURED}")
        couplings |= dict.fromkeys([flow] if separator else FLOWS, None if name == CONFIGURED else Coupling(name))
    return couplings


async def _request(services: ServicesAccess, method: str, body: bytes = b"") -> DefaultPlan:
    """Send a request to booking and return the default plan afterwards. Raises UserError."""
    client = ServiceClient(services.internal_urls)
    signed = SignedHttpClient(client, CONSOLE, lambda: services.console_secrets)
    try:
        response = await signed.request(method, "booking", PATH, headers={}, body=body, timeout_s=REQUEST_TIMEOUT_S)
    except Unreachable as error:
        raise UserError(str(error), "`prebook doctor` shows which service is not ready") from error
    finally:
        await client.close()
    if response.status != HTTPStatus.OK:
        raise UserError(f"booking refused: {response.status} {response.body[:200].decode()}", "see booking's log")
    return msgspec.json.decode(response.body, type=DefaultPlan)


def _print(found: DefaultPlan, *, as_json: bool) -> None:
    if as_json:
        echo(msgspec.json.encode(found))
        return
    table = Table("flow", "coupling", CONFIGURED, "changed", title="Default plan")
    for flow, each in found.flows.items():
        changed = f"{each.changed_at:%Y-%m-%d %H:%M:%S} UTC" if each.changed_at else "-"
        table.add_row(flow, each.coupling, each.configured, changed)
    PlainConsole().print(table)
