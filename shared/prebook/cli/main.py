"""`prebook`: starts the suite, breaks it, and looks into it."""

import rich_click as click

from prebook.cli.archive.command import archive
from prebook.cli.doctor import doctor
from prebook.cli.lab_commands import bench, chaos, demo, fault, load
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
from prebook.lab.experiments.command import lab

EXAMPLES = examples(
    "prebook demo --quick       a whole campaign, and everything is stopped again",
    "prebook up                 the suite, until Ctrl-C",
    "prebook doctor             what this machine lacks, if anything",
)
COMMANDS = (
    demo,
    up,
    load,
    chaos,
    fault,
    ledger,
    parking,
    outbox,
    archive,
    ordering,
    retry,
    lab,
    bench,
    topology,
    doctor,
    serve,
    setup,
    secrets,
    ready,
)


@click.group(cls=UserErrorGroup, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="prebook")
def main() -> None:
    """Ride-share prebooking in four couplings, over RabbitMQ and HTTP.

    Exit status: 0 done, 1 it did not work (stderr says why and what to do), 2 wrong usage, 130 interrupted.
    """


for command in COMMANDS:
    main.add_command(command)
