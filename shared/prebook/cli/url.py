"""`prebook url`: a URL that opens the control room of the running suite."""

from typing import Annotated

import httpx
import msgspec
import rich_click as click

from prebook.cli.settings import ConsoleControlToken, read_settings
from prebook.cli.suite_access import is_set
from prebook.control_room.app import PageUrl
from prebook.devstack import command_line
from prebook.devstack.command_line import examples
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import json_option
from prebook.devstack.ports import DEFAULT_PAGE_PORT, LOOPBACK
from prebook.devstack.suite_state import read_suite_state
from prebook.devstack.terminal import echo
from prebook.http.client import create_http_client, limit_exchange
from prebook.messaging.errors import Unreachable
from prebook.runtime import paths

REQUEST_TIMEOUT_S = 5.0
REMEDY = "it runs in the process of `prebook up`, or in the container `lab`: look there, or start the suite again"
EXAMPLES = examples(
    "prebook url",
    "docker compose exec lab prebook url",
    "prebook url --json | jq -r .url",
)


@click.command(epilog=EXAMPLES)
@json_option()
def url(*, as_json: bool) -> None:
    """Print a new URL of the control room, the page that shows and breaks the running suite.

    The URL opens one session of one browser within an hour, and is then of no use. A session lasts for 12 hours.
    """
    page = command_line.run_interruptible(_create_url(_find_page()))
    echo(msgspec.json.encode(page) if as_json else page.url)


class PageSettings(msgspec.Struct, frozen=True):
    """Access to a control room in another container. Each field is a variable PREBOOK_<NAME>."""

    control_token_console: ConsoleControlToken
    page_url: Annotated[
        str, msgspec.Meta(pattern="^http://", description="base URL by which commands reach the control room")
    ] = f"http://{LOOPBACK}:{DEFAULT_PAGE_PORT}"


def _find_page() -> PageSettings:
    """Return the configured control room, or that of the running suite. Raises UserError if there is neither."""
    if is_set("PREBOOK_CONTROL_TOKEN_CONSOLE"):
        return read_settings(PageSettings)
    suite = read_suite_state(paths.home_dir())
    return PageSettings(suite.control_token, suite.page_url)


async def _create_url(page: PageSettings) -> PageUrl:
    """Ask a console for a URL. Raises UserError."""
    headers = {
        "host": LOOPBACK,  # the control room answers to no other name, and the name of a container is another one
        "authorization": f"Bearer {page.control_token_console}",
        "content-type": "application/json",
    }
    async with create_http_client() as client:
        try:
            async with limit_exchange(page.page_url, REQUEST_TIMEOUT_S):
                response = await client.post(f"{page.page_url}/v1/tokens", headers=headers, content=b"{}")
        except Unreachable as error:
            raise UserError(f"the control room does not answer: {error}", REMEDY) from error
    if response.status_code != httpx.codes.CREATED:
        raise UserError(f"the control room answered {response.status_code}: {response.text[:200]}", REMEDY)
    return msgspec.json.decode(response.content, type=PageUrl)
