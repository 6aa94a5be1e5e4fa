"""`prebook url`: a URL that opens the control room of the running suite."""

import httpx
import msgspec
import rich_click as click

from prebook.control_room.app import PageUrl
from prebook.devstack import command_line
from prebook.devstack.command_line import examples
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import json_option
from prebook.devstack.suite_state import SuiteState, read_suite_state
from prebook.devstack.terminal import echo
from prebook.http.client import create_http_client, limit_exchange
from prebook.messaging.errors import Unreachable
from prebook.runtime import paths

REQUEST_TIMEOUT_S = 5.0
REMEDY = "the control room runs in the process of `prebook up`: look there, or start the suite again"
EXAMPLES = examples(
    "prebook url",
    "prebook url --json | jq -r .url",
)


@click.command(epilog=EXAMPLES)
@json_option()
def url(*, as_json: bool) -> None:
    """Print a new URL of the control room, the page that shows and breaks the running suite.

    The URL opens one session of one browser within an hour, and is then of no use. A session lasts for 12 hours.
    """
    page = command_line.run_interruptible(_create_url(read_suite_state(paths.home_dir())))
    echo(msgspec.json.encode(page) if as_json else page.url)


async def _create_url(suite: SuiteState) -> PageUrl:
    """Ask the console of the suite for a URL. Raises UserError."""
    headers = {"authorization": f"Bearer {suite.control_token}", "content-type": "application/json"}
    async with create_http_client() as client:
        try:
            async with limit_exchange(suite.page_url, REQUEST_TIMEOUT_S):
                response = await client.post(f"{suite.page_url}/v1/tokens", headers=headers, content=b"{}")
        except Unreachable as error:
            raise UserError(f"the control room does not answer: {error}", REMEDY) from error
    if response.status_code != httpx.codes.CREATED:
        raise UserError(f"the control room answered {response.status_code}: {response.text[:200]}", REMEDY)
    return msgspec.json.decode(response.content, type=PageUrl)
