"""`prebook serve`: one service and its supervisor, as the first process of a container."""

import contextlib
import os
import sys
from typing import Annotated

import msgspec
import rich_click as click

from prebook.cli.settings import read_settings
from prebook.devstack import command_line
from prebook.devstack.command_line import Interrupted, examples
from prebook.devstack.container_environment import container_environment
from prebook.devstack.ports import LOOPBACK
from prebook.devstack.supervisor.contract import ProcessSpec
from prebook.devstack.supervisor.control_api import create_control_app, serve_control_api
from prebook.devstack.supervisor.supervisor import Supervisor
from prebook.flows import PROCESSES
from prebook.runtime.environment import EXIT_BAD_SETTINGS

DEFAULT_CONTROL_PORT = 9000
EXAMPLES = examples(
    "prebook serve booking",
    "prebook serve pricing --control-host 0.0.0.0 --control-port 9000",
)


class ServeSettings(msgspec.Struct, frozen=True):
    """Settings of `prebook serve`. ``http_port`` is the port of the service, which is polled for readiness."""

    control_token_sha256: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[0-9a-f]{64}$",
            description="SHA-256 of the random bearer token of the control API's clients, as 64 hexadecimal digits",
        ),
    ]
    http_port: Annotated[
        int, msgspec.Meta(ge=1, le=65535, description="TCP port of the service, polled for readiness, 1 to 65535")
    ] = 8000
    fault_proxy_host: Annotated[
        str, msgspec.Meta(description="console whose fault proxies the connections of the service pass; empty: none")
    ] = ""


@click.command(epilog=EXAMPLES)
@click.argument("service", type=click.Choice(PROCESSES))
@click.option("--control-host", default=LOOPBACK, show_default=True, help="Address of the control API.")
@click.option(
    "--control-port",
    type=click.IntRange(1, 65535),
    default=DEFAULT_CONTROL_PORT,
    show_default=True,
    help="Port of the control API.",
)
def serve(*, service: str, control_host: str, control_port: int) -> None:
    """Run SERVICE, restart it when it ends, and serve the control API.

    Settings come from PREBOOK_* variables, or from files that <NAME>_FILE names. The log goes to stdout.
    """
    settings = read_settings(ServeSettings)
    with contextlib.suppress(Interrupted):  # containers are stopped by a signal: exit status 0
        command_line.run_interruptible(_supervise(service, settings, control_host, control_port))
        sys.exit(EXIT_BAD_SETTINGS)


async def _supervise(service: str, settings: ServeSettings, host: str, port: int) -> None:
    """Run the service and the control API; return only if the service fails because of wrong settings."""
    ready = f"http://{LOOPBACK}:{settings.http_port}/readyz"
    args = (sys.executable, "-m", f"prebook.{service}")
    environment = container_environment(service, os.environ, settings.fault_proxy_host)
    supervisor = Supervisor([ProcessSpec(service, args, environment, ready)])
    control = create_control_app(supervisor, settings.control_token_sha256)
    async with supervisor.run(), serve_control_api(control, host, port):
        await supervisor.wait_until_failed()
