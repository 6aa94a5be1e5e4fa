"""`prebook lab`: experiments with a broker, a database and processes of their own."""

import rich_click as click

from prebook.devstack.command_line import log_warnings_only
from prebook.lab.experiments.exactly_once.command import exactly_once
from prebook.lab.experiments.ordering.command import order
from prebook.lab.experiments.outbox_retention.command import outbox_retention
from prebook.lab.experiments.poison.command import poison


@click.group()
def lab() -> None:
    """Run experiments that crash processes, on a broker and database of their own; a running suite is not affected."""
    log_warnings_only()


lab.add_command(exactly_once)
lab.add_command(order)
lab.add_command(outbox_retention)
lab.add_command(poison)
