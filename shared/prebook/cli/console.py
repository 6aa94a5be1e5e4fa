"""`prebook console`: the long-lived process of a container deployment that holds what operators need."""

import contextlib
from pathlib import Path
from typing import Annotated

import msgspec
import rich_click as click

from prebook.cli.serve import DEFAULT_CONTROL_PORT
from prebook.cli.settings import AdministratorSettings, read_settings
from prebook.cli.suite_access import find_services
from prebook.devstack import command_line
from prebook.devstack.command_line import Interrupted, examples, log_to_stderr
from prebook.devstack.console import ConsoleAccess, run_console
from prebook.devstack.ports import LOOPBACK

EXAMPLES = examples(
    "prebook console",
    "prebook console --control-host 0.0.0.0 --control-port 9000",
)


class ConsoleSettings(AdministratorSettings, frozen=True):
    """Settings of `prebook console`. Each field is a variable PREBOOK_<NAME>."""

    control_token_console: Annotated[
        str, msgspec.Meta(min_length=16, description="random bearer token of the clients of the console's control API")
    ]
    control_folder: Annotated[
        str, msgspec.Meta(description="folder that the console shares with the control loops of broker and database")
    ] = "/run/control"
    amqp_url: Annotated[str, msgspec.Meta(description="broker URL of an administrator; for the fault proxies")] = ""
    fault_proxy_host: Annotated[
        str,
        msgspec.Meta(description="name by which services reach the fault proxies of this console; empty: no proxies"),
    ] = ""


@click.command(epilog=EXAMPLES)
@click.option("--control-host", default=LOOPBACK, show_default=True, help="Address of the control API.")
@click.option(
    "--control-port",
    type=click.IntRange(1, 65535),
    default=DEFAULT_CONTROL_PORT,
    show_default=True,
    help="Port of the control API.",
)
def console(*, control_host: str, control_port: int) -> None:
    """Serve the control API of broker and database, which run in other containers, until stopped.

    The other commands, run in the same container, find the suite by the same variables. Settings come from PREBOOK_*
    variables, or from files that <NAME>_FILE names.
    """
    settings = read_settings(ConsoleSettings)
    access = ConsoleAccess(
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
    with contextlib.suppress(Interrupted):  # containers are stopped by a signal: exit status 0
        command_line.run_interruptible(run_console(access, control_host, control_port, log_to_stderr))
