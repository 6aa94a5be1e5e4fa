"""`prebook lab poison`: what one message that cannot be handled costs the others."""

import os
import platform
import sys
import time
from collections.abc import Sequence

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table

from prebook.devstack import command_line
from prebook.devstack.command_line import examples, say
from prebook.devstack.parameters import FiniteRange
from prebook.lab.experiments.poison.experiment import rounds
from prebook.lab.experiments.poison.model import MOST_RATIO, Arm, Compared, Load, Spread, compared, covering, declared
from prebook.lab.experiments.testbed import described, grounded

EXAMPLES = examples(
    "prebook lab poison",
    "prebook lab poison --rounds 7 --rate 100",
    "prebook lab poison --json | jq '.poisons[] | {poison, tries, ratio}'",
)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    system: str
    python: str
    cores: int
    load_before: float
    """Programs that wanted a processor in the minute before."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """``covering``: how surely the lowest and the highest ratio have the median ratio between them."""

    load: Load
    rounds: int
    covering: float
    most_ratio: float
    machine: Machine
    stack: dict[str, str]
    seconds: float
    as_expected: bool
    poisons: list[Compared]
    arms: list[Arm]
    schema: str = "prebook.poison/1"


@click.command("poison", epilog=EXAMPLES)
@click.option(
    "--messages", type=click.IntRange(20, 20_000), default=1000, show_default=True, help="On each side of each run."
)
@click.option(
    "--rate", type=FiniteRange(1, 5000), default=100.0, show_default=True, help="Messages a second, on each side."
)
@click.option("--rounds", "count", type=click.IntRange(1, 50), default=5, show_default=True)
@click.option("--seed", default=7, show_default=True, help="What shuffles the runs of each round.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document on stdout.")
def poison(*, messages: int, rate: float, count: int, seed: int, as_json: bool) -> None:
    """Put one poison message of each kind among many, and compare the others' times with those beside it.

    Each run has two queues with a consumer each, under the same load at the same time; one gets the poison. Exit
    status 1 where a message was not handled or not parked as it must be. Times are told, not judged.

    A round has five runs, and a run takes a little longer than --messages at --rate: five minutes for all as usual.
    """
    report = command_line.run(_experiment(Load(messages=messages, rate_per_s=rate, seed=seed), count))
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        Console().print(_table(report))
    sys.exit(0 if report.as_expected else 1)


async def _experiment(load: Load, count: int) -> Report:
    began, machine = time.monotonic(), _machine()
    async with grounded() as ground:
        await ground.declare(declared(""))
        arms = await rounds(ground.bench, ground.parts.broker.amqp_url, load, count, say)
        return Report(
            load=load,
            rounds=count,
            covering=round(covering(count), 4),
            most_ratio=MOST_RATIO,
            machine=machine,
            stack=described(ground.parts),
            seconds=round(time.monotonic() - began, 1),
            as_expected=all(arm.as_expected(load) for arm in arms),
            poisons=compared(arms),
            arms=arms,
        )


def _machine() -> Machine:
    return Machine(
        system=platform.platform(terse=True),
        python=platform.python_version(),
        cores=os.cpu_count() or 1,
        load_before=round(os.getloadavg()[0], 2),
    )


def _table(report: Report) -> Table:
    load = report.load
    counts = "every count as expected" if report.as_expected else "COUNTS NOT AS EXPECTED: report this, with --json"
    caption = (
        f"{load.messages} messages at {load.rate_per_s:g}/s on each side, {report.rounds} rounds, seed {load.seed}; "
        f"median (lowest to highest); {counts}; {report.seconds:g} s"
    )
    table = Table(title="One poison message, and the others", caption=caption)
    table.add_column("poison")
    table.add_column("parked as")
    for name in ("tries", "others' p99, ms", "p99 beside, ms", "ratio", f"at most {MOST_RATIO}"):
        table.add_column(name, justify="right")
    for one in report.poisons:
        table.add_row(*_row(one))
    return table


def _row(one: Compared) -> Sequence[str]:
    times = (_spelled(spread) for spread in (one.others_p99_ms, one.beside_p99_ms, one.ratio))
    within = "yes" if one.within else "no"
    return (one.poison.replace("_", " "), one.cause or "-", str(one.tries), *times, within)


def _spelled(spread: Spread) -> str:
    return f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"
