"""`prebook`: start a suite, measure it, break it, and inspect it."""

from importlib.metadata import EntryPoint, entry_points

import rich_click as click

from prebook.devstack.command_line import UserErrorGroup, examples

ENTRY_POINT_GROUP = "prebook.commands"
EXAMPLES = examples(
    "prebook demo --quick       run a whole campaign, and stop everything again",
    "prebook up                 run the suite until Ctrl-C",
    "prebook doctor             check what this machine lacks, if anything",
)
BUILT_IN_COMMANDS = {
    "up": "prebook.cli.up:up",
    "url": "prebook.cli.url:url",
    "plan": "prebook.cli.plan:plan",
    "ledger": "prebook.cli.ledger:ledger",
    "trace": "prebook.cli.trace:trace",
    "parking": "prebook.cli.parking.command:parking",
    "outbox": "prebook.cli.outbox:outbox",
    "dispatch": "prebook.cli.dispatch:dispatch",
    "archive": "prebook.cli.archive:archive",
    "pipe": "prebook.cli.pipe.command:pipe",
    "ordering": "prebook.cli.ordering:ordering",
    "profile": "prebook.cli.profile:profile",
    "retry": "prebook.cli.retry:retry",
    "topology": "prebook.cli.topology:topology",
    "contracts": "prebook.cli.contracts:contracts",
    "coupling": "prebook.cli.coupling.command:coupling_group",
    "doctor": "prebook.cli.doctor:doctor",
    "serve": "prebook.cli.serve:serve",
    "console": "prebook.cli.console:console",
    "setup": "prebook.cli.setup:setup",
    "secrets": "prebook.cli.secrets:secrets",
    "keys": "prebook.cli.keys:keys",
    "ready": "prebook.cli.ready:ready",
    "generate": "prebook.cli.generate.command:generate",
    "kubernetes": "prebook.cli.kubernetes:kubernetes",
}
"""Name of each command of this package -> its module and attribute."""


class LazyGroup(UserErrorGroup):
    """A group of this package's commands and of those registered as entry points of ``prebook.commands``.

    A command is imported when it is used or listed. The supervisor of each container is such a command, and the modules
    of all others would cost it 11 MB.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, sorted; imports none of them."""
        return sorted({*super().list_commands(ctx), *_find_commands()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name, imported now; None if there is no such command."""
        command = super().get_command(ctx, cmd_name)
        if command is None and (found := _find_commands().get(cmd_name)):
            loaded: click.Command = found.load()
            return loaded
        return command


def _find_commands() -> dict[str, EntryPoint]:
    built_in = {name: EntryPoint(name, value, ENTRY_POINT_GROUP) for name, value in BUILT_IN_COMMANDS.items()}
    return {entry_point.name: entry_point for entry_point in entry_points(group=ENTRY_POINT_GROUP)} | built_in


@click.group(cls=LazyGroup, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="prebook")
def main() -> None:
    """Ride-share prebooking in four couplings, over RabbitMQ and HTTP.

    Exit status: 0 success, 1 failure (stderr says why and what to do), 2 wrong usage, 130 interrupted.
    """
