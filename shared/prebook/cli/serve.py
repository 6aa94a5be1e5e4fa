"""`prebook serve`: one service under its supervisor, as the first process of a container."""

import contextlib
import os
import sys
from typing import Annotated

import msgspec
import rich_click as click

from prebook.cli.settings import read_settings
from prebook.devstack import command_line
from prebook.devstack.command_line import Interrupted, examples
from prebook.devstack.ports import LOOPBACK
from prebook.devstack.service_environment import container_environment
from prebook.devstack.supervisor.contract import ProcessSpec
from prebook.devstack.supervisor.control_api import create_control_app, serve_control_api
from prebook.devstack.supervisor.supervisor import Supervisor
from prebook.flows import PROCESSES
from prebook.runtime.environment import EXIT_BAD_SETTINGS

EXAMPLES = examples(
    "prebook serve booking",
    "prebook serve pricing --control-host 0.0.0.0 --control-port 9000",
)


class ServeSettings(msgspec.Struct, frozen=True):
    """``http_port`` is the service's own, asked whether it is ready."""

    control_token: Annotated[
        str, msgspec.Meta(min_length=16, description="at least 16 characters that the control API's clients send")
    ]
    http_port: Annotated[int, msgspec.Meta(ge=1, le=65535, description="a TCP port, 1 to 65535")] = 8000


@click.command(epilog=EXAMPLES)
@click.argument("name", type=click.Choice(PROCESSES))
@click.option("--control-host", default=LOOPBACK, show_default=True, help="Where the control API listens.")
@click.option("--control-port", type=click.IntRange(1, 65535), default=9000, show_default=True)
def serve(*, service: str, control_host: str, control_port: int) -> None:
    """Run one service, start it again when it ends, and offer the control API.

    Settings come from PREBOOK_* variables, or from files that <NAME>_FILE names. The log goes to stdout.
    """
    settings = read_settings(ServeSettings)
    with contextlib.suppress(Interrupted):  # a container is asked to stop in this way, and did
        command_line.run_interruptible(_supervise(service, settings, control_host, control_port))
        sys.exit(EXIT_BAD_SETTINGS)


async def _supervise(service: str, settings: ServeSettings, host: str, port: int) -> None:
    """Returns only when the service says that its settings are wrong."""
    ready = f"http://{LOOPBACK}:{settings.http_port}/readyz"
    args = (sys.executable, "-m", f"prebook.{service}")
    supervisor = Supervisor([ProcessSpec(service, args, container_environment(os.environ), ready)])
    control = create_control_app(supervisor, settings.control_token)
    async with supervisor.run(), serve_control_api(control, host, port):
        await supervisor.wait_until_failed()
