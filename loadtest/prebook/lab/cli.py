"""The command line of the lab: measure a running suite, and break it on purpose."""

import rich_click as click

from prebook.lab.burst.command import burst
from prebook.lab.campaign.command import campaign
from prebook.lab.chaos.command import chaos
from prebook.lab.compare.command import compare
from prebook.lab.faults.command import fault
from prebook.lab.load.command import self_test


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Load a running suite over the wire, break it on purpose, and reconcile what became of every ride."""


main.add_command(campaign)
main.add_command(fault)
main.add_command(burst)
main.add_command(compare)
main.add_command(self_test)
main.add_command(chaos)
