"""The lab's command lines: `prebook load`, and ``python -m prebook.lab``, which runs against one suite."""

import rich_click as click

from prebook.devstack.command_line import UserErrorGroup, examples
from prebook.lab.burst.command import burst, burst_steps
from prebook.lab.campaign.command import campaign
from prebook.lab.chaos.command import chaos_run
from prebook.lab.compare.command import compare
from prebook.lab.faults.command import fault
from prebook.lab.load.command import self_test
from prebook.lab.load.console_commands import back_pressure, change, start, status, stop
from prebook.lab.load.worker import worker

LOAD_EXAMPLES = examples(
    "prebook load campaign --help",
    "prebook load --quick --seed 7                    same as `prebook load campaign --quick --seed 7`",
    "prebook load --arrivals square --rate 5 --factor 6 --period 8 --report reports/wave",
    "prebook load --arrivals replay --trace reports/wave/samples.jsonl --report reports/again",
    "prebook load compare reports/wave reports/again",
    "prebook load burst --factor 2 --duration 10",
    "prebook load start --rate 20 --shape square     until `prebook load stop`, by the console of `prebook up`",
    "prebook load self-test --rate 2500",
)


class DefaultCampaignGroup(click.RichGroup):
    """A command group that runs `campaign` when the first argument is an option other than `--help`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse ``args``, with `campaign` inserted where no command is named; return the remaining arguments."""
        first = args[0] if args else "-"
        is_campaign = first.startswith("-") and first not in ctx.help_option_names
        return super().parse_args(ctx, ["campaign", *args] if is_campaign else args)


@click.group(cls=DefaultCampaignGroup, epilog=LOAD_EXAMPLES)
def load() -> None:
    """Load a suite: run the campaign, run a burst with and without back pressure, compare two runs, or start a load.

    Options given without a command are passed to `campaign`.
    """


@click.group(cls=UserErrorGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Load a running suite over the network, break it on purpose, and reconcile the outcome of every ride.

    The suite is the one that the PREBOOK_* variables name, or else the one that `prebook up` started.
    """


for command in (campaign, burst, compare, self_test, start, change, status, stop, back_pressure, worker):
    load.add_command(command)
for command in (campaign, burst_steps, compare, self_test, chaos_run, fault):
    main.add_command(command)
