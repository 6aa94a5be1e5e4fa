"""`prebook lab`: experiments with their own broker, database and processes."""

import rich_click as click

from prebook.devstack.command_line import log_warnings_only
from prebook.lab.experiments.crash_points.command import crash_points
from prebook.lab.experiments.exactly_once.command import exactly_once
from prebook.lab.experiments.ordering.command import order
from prebook.lab.experiments.outbox_retention.command import outbox_retention
from prebook.lab.experiments.poison.command import poison


@click.group()
def lab() -> None:
    """Run experiments that crash processes on servers of their own; a running suite is not affected."""
    log_warnings_only()


lab.add_command(crash_points)
lab.add_command(exactly_once)
lab.add_command(order)
lab.add_command(outbox_retention)
lab.add_command(poison)
