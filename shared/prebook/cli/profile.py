"""`prebook profile`: show and set the profiles of riders, which notification owns."""

from http import HTTPStatus
from urllib.parse import quote

import msgspec
import rich_click as click

from prebook.cli.suite_access import ServicesAccess, find_services
from prebook.contracts.riders import RiderProfile, RiderTier
from prebook.coupling.ports import HttpResponse
from prebook.devstack import command_line
from prebook.devstack.command_line import examples
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import json_option
from prebook.devstack.terminal import echo
from prebook.flows import CONSOLE, RIDER_PROFILE
from prebook.http.client import ServiceClient
from prebook.http.signed_client import SignedHttpClient
from prebook.messaging.errors import Unreachable

REQUEST_TIMEOUT_S = 15.0


@click.group()
def profile() -> None:
    """Show and set the profiles of riders: the tier, which lowers the fare, and the zone without a demand surcharge.

    Fares depend on them only with PREBOOK_FARE_ENRICHMENT=wait, skip or park.
    """


@profile.command(epilog=examples("prebook profile show rosa"))
@click.argument("rider_id", metavar="RIDER")
@json_option()
def show(*, rider_id: str, as_json: bool) -> None:
    """Print the profile of RIDER. A rider without a profile has the standard tier."""
    _print(command_line.run_interruptible(_request(find_services(), "GET", rider_id)), as_json=as_json)


@profile.command("set", epilog=examples("prebook profile set rosa --tier gold --home-zone 2625:670"))
@click.argument("rider_id", metavar="RIDER")
@click.option("--tier", type=click.Choice([tier.value for tier in RiderTier]), required=True, help="Tier of the rider.")
@click.option("--home-zone", metavar="NORTH:EAST", help="Zone in cells of 0.02 degrees, such as 2625:670.")
@json_option()
def set_profile(*, rider_id: str, tier: str, home_zone: str | None, as_json: bool) -> None:
    """Set the profile of RIDER, in place of an earlier one."""
    body = msgspec.json.encode(RiderProfile(tier=RiderTier(tier), home_zone=home_zone))
    _print(command_line.run_interruptible(_request(find_services(), "PUT", rider_id, body)), as_json=as_json)


async def _request(services: ServicesAccess, method: str, rider_id: str, body: bytes = b"") -> RiderProfile:
    client = ServiceClient(services.internal_urls)
    signed = SignedHttpClient(client, CONSOLE, lambda: services.console_secrets)
    path = f"/v1/riders/{quote(rider_id, safe='')}/profile"
    try:
        response = await signed.request(
            method, RIDER_PROFILE.owner, path, headers={}, body=body, timeout_s=REQUEST_TIMEOUT_S
        )
    except Unreachable as error:
        raise UserError(str(error), "`prebook doctor` shows which service is not ready") from error
    finally:
        await client.close()
    return _profile_of(response)


def _profile_of(response: HttpResponse) -> RiderProfile:
    """Return the profile in a response; the default one if the rider has none. Raises UserError."""
    if response.status == HTTPStatus.OK:
        return msgspec.json.decode(response.body, type=RiderProfile)
    problem = msgspec.json.decode(response.body, type=dict[str, object]) if response.body else {}
    if problem.get("code") == "no_such_profile":
        return RiderProfile()
    raise UserError(f"notification refused: {problem.get('detail', response.status)}", "correct the rider or the zone")


def _print(found: RiderProfile, *, as_json: bool) -> None:
    text = f"tier {found.tier}, home zone {found.home_zone or 'none'}"
    echo(msgspec.json.encode(found) if as_json else text)
