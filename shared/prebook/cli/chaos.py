"""`prebook chaos`: a suite of its own under random faults, and a judgement of every booking."""

import sys
from collections.abc import Mapping

import rich_click as click

from prebook.cli import options, own_suite
from prebook.cli.environments import Terms, loadtest
from prebook.cli.telling import examples
from prebook.cli.whereabouts import Whereabouts
from prebook.given import ABOVE_0

EXAMPLES = examples(
    "prebook chaos --bookings 500 --faults 8",
    "prebook chaos --bookings 10000 --faults 60 --seed 3",
    "prebook chaos --broker-nodes 3     # among the faults, the cluster loses its leader",
    "prebook chaos --bookings 1000 --faults 12 --json | jq .faults",
)
AT_LEAST_1 = click.IntRange(min=1)


@click.command(epilog=EXAMPLES)
@click.option("--bookings", type=AT_LEAST_1, default=10_000, show_default=True, help="How many are offered.")
@click.option("--faults", type=AT_LEAST_1, default=60, show_default=True, help="How many are injected meanwhile.")
@click.option("--seed", default=7, show_default=True, help="The same seed offers the same and draws the same faults.")
@click.option(
    "--rate",
    type=ABOVE_0,
    help="Rides offered a second. [default: 12, or slower where all the faults would not fit in]",
)
@options.broker_nodes
@click.option("--json", "as_json", is_flag=True, help="The result on stdout; everything else on stderr.")
def chaos(*, bookings: int, faults: int, seed: int, rate: float | None, broker_nodes: str, as_json: bool) -> None:
    """Start a suite, offer bookings of all plans, mixed, while random faults come, and judge what became of each.

    Faults are drawn by the seed from all that can be injected here. Exit status 1 if a booking was lost, stuck, doubled
    or misordered, if a fault took no effect, or if no message came a second time.
    """
    flags = [*(("--rate", str(rate)) if rate else ()), *(("--json",) if as_json else ())]
    arguments = ["chaos", "--bookings", str(bookings), "--faults", str(faults), "--seed", str(seed), *flags]
    terms = Terms(ports=own_suite.ports(), seed=seed, log_level="warning", links=True, broker_nodes=int(broker_nodes))
    sys.exit(own_suite.played("breaking the suite", arguments, terms, _told))


def _told(suite: Whereabouts) -> Mapping[str, str]:
    """With the database, which the judgement reads for itself."""
    return {**loadtest(suite), "PREBOOK_DATABASE_URL": suite.database_url}
