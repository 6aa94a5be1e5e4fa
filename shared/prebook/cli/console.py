"""`prebook console`: the long-lived process of a container deployment that holds what operators need."""

import contextlib
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
import rich_click as click

from prebook.cli.serve import DEFAULT_CONTROL_PORT
from prebook.cli.settings import AdministratorSettings, ConsoleControlToken, read_settings
from prebook.cli.suite_access import find_operations, find_services
from prebook.control_room.app import PageAddress
from prebook.control_room.dead_letters import OperatorAccess
from prebook.control_room.runner import SuiteAccess, open_control_room
from prebook.devstack import command_line
from prebook.devstack.command_line import Interrupted, examples, log_to_stderr
from prebook.devstack.console import ConsoleAccess, run_console
from prebook.devstack.ports import DEFAULT_PAGE_PORT, LOOPBACK
from prebook.devstack.proxies.proxy import HostPort
from prebook.devstack.supervisor.control_api import token_digest

EXAMPLES = examples(
    "prebook console",
    "prebook console --control-host 0.0.0.0 --control-port 9000",
)


class ConsoleSettings(AdministratorSettings, frozen=True):
    """Settings of `prebook console`. Each field is a variable PREBOOK_<NAME>."""

    control_token_console: ConsoleControlToken
    url_booking: Annotated[
        str,
        msgspec.Meta(pattern="^https?://", description="base URL of booking", examples=["http://127.0.0.1:8080"]),
    ]
    control_folder: Annotated[
        str, msgspec.Meta(description="folder that the console shares with the control loops of broker and database")
    ] = "/run/control"
    amqp_url: Annotated[str, msgspec.Meta(description="broker URL of an administrator; for the fault proxies")] = ""
    fault_proxy_host: Annotated[
        str,
        msgspec.Meta(description="name by which services reach the fault proxies of this console; empty: no proxies"),
    ] = ""
    shown_page: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^http://(127\.0\.0\.1|localhost):\d+$",
            description="base URL by which browsers on this machine reach the control room, if its port is published "
            "under another number",
        ),
    ] = f"http://{LOOPBACK}:{DEFAULT_PAGE_PORT}"


@click.command(epilog=EXAMPLES)
@click.option("--control-host", default=LOOPBACK, show_default=True, help="Address of the control API.")
@click.option(
    "--control-port",
    type=click.IntRange(1, 65535),
    default=DEFAULT_CONTROL_PORT,
    show_default=True,
    help="Port of the control API.",
)
@click.option("--page-host", default=LOOPBACK, show_default=True, help="Address of the control room.")
@click.option(
    "--page-port",
    type=click.IntRange(1, 65535),
    default=DEFAULT_PAGE_PORT,
    show_default=True,
    help="Port of the control room.",
)
def console(*, control_host: str, control_port: int, page_host: str, page_port: int) -> None:
    """Serve the control room, and the control API of broker and database, until stopped. They run in other containers.

    `prebook url` prints a URL of the control room. It and the other commands, run in the same container, find the suite
    by the same variables. Settings come from PREBOOK_* variables, or from files that <NAME>_FILE names.
    """
    settings = read_settings(ConsoleSettings)
    control, page = (control_host, control_port), (page_host, page_port)
    with contextlib.suppress(Interrupted):  # containers are stopped by a signal: exit status 0
        command_line.run_interruptible(_run(settings, control, page))


async def _run(settings: ConsoleSettings, control: HostPort, page: HostPort) -> None:
    address = PageAddress(settings.shown_page, urlsplit(settings.shown_page).port or DEFAULT_PAGE_PORT)
    async with open_control_room(address, _suite_access(settings), *page):
        await run_console(_console_access(settings), *control, log_to_stderr)


def _console_access(settings: ConsoleSettings) -> ConsoleAccess:
    return ConsoleAccess(
        database_url=settings.database_url,
        management_url=settings.management_url,
        management_user=settings.management_user,
        management_password=settings.management_password,
        control_folder=Path(settings.control_folder),
        control_token=settings.control_token_console,
        amqp_url=settings.amqp_url,
        internal_urls=find_services().internal_urls if settings.fault_proxy_host else {},
        proxy_host=settings.fault_proxy_host,
    )


def _suite_access(settings: ConsoleSettings) -> SuiteAccess:
    """Return how the control room reaches the suite. Secrets are read again for each use, as they are rotated."""
    return SuiteAccess(
        process_urls=find_services().internal_urls,
        booking_url=settings.url_booking,
        operations=OperatorAccess(find_operations().url, lambda: find_operations().token),
        console_secrets=lambda: find_services().console_secrets,
        management_url=settings.management_url,
        management_user=settings.management_user,
        management_password=settings.management_password,
        control_token_sha256=token_digest(settings.control_token_console),
        environment={},
    )
