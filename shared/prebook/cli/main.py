"""`prebook`: start a suite, measure it, break it, and inspect it."""

from importlib.metadata import EntryPoint, entry_points

import rich_click as click

from prebook.cli.archive import archive
from prebook.cli.doctor import doctor
from prebook.cli.keys import keys
from prebook.cli.ledger import ledger
from prebook.cli.ordering import ordering
from prebook.cli.outbox import outbox
from prebook.cli.parking.command import parking
from prebook.cli.ready import ready
from prebook.cli.retry import retry
from prebook.cli.secrets import secrets
from prebook.cli.serve import serve
from prebook.cli.setup import setup
from prebook.cli.topology import topology
from prebook.cli.up import up
from prebook.devstack.command_line import UserErrorGroup, examples

ENTRY_POINT_GROUP = "prebook.commands"
EXAMPLES = examples(
    "prebook demo --quick       run a whole campaign, and stop everything again",
    "prebook up                 run the suite until Ctrl-C",
    "prebook doctor             check what this machine lacks, if anything",
)
COMMANDS = (
    up,
    ledger,
    parking,
    outbox,
    archive,
    ordering,
    retry,
    topology,
    doctor,
    serve,
    setup,
    secrets,
    keys,
    ready,
)


class PluginGroup(UserErrorGroup):
    """A group that also has the commands registered as entry points of ``prebook.commands``, such as the lab's.

    An entry point is imported when its command is used or listed, so that the other commands start without it.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the built-in and the registered commands, sorted; imports none of them."""
        return sorted({*super().list_commands(ctx), *_registered_commands()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name, importing a registered one; None if there is no such command."""
        command = super().get_command(ctx, cmd_name)
        if command is None and (registered := _registered_commands().get(cmd_name)):
            loaded: click.Command = registered.load()
            return loaded
        return command


def _registered_commands() -> dict[str, EntryPoint]:
    return {entry_point.name: entry_point for entry_point in entry_points(group=ENTRY_POINT_GROUP)}


@click.group(cls=PluginGroup, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="prebook")
def main() -> None:
    """Ride-share prebooking in four couplings, over RabbitMQ and HTTP.

    Exit status: 0 success, 1 failure (stderr says why and what to do), 2 wrong usage, 130 interrupted.
    """


for command in COMMANDS:
    main.add_command(command)
