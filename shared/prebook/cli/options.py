"""Options that several commands have."""

import rich_click as click

from prebook.cli.environments import NODES

broker_nodes = click.option(
    "--broker-nodes",
    type=click.Choice(NODES),
    default=NODES[0],
    show_default=True,
    envvar="PREBOOK_BROKER_NODES",
    help="How many nodes the broker has; 3 make a cluster, whose queues survive the end of any one of them.",
)
