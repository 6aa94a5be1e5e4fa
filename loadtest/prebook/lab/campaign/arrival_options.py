"""Options that say how rides arrive, for who wants arrivals of his own."""

from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

from prebook.devstack.parameters import POSITIVE
from prebook.lab.campaign.scenarios import Scenario, custom_scenario
from prebook.lab.load import traces
from prebook.lab.load.arrivals import DEFAULT_SHAPE, ArrivalProcess, ArrivalShape
from prebook.lab.load.traces import TraceUnreadable

F = TypeVar("F", bound=Callable[..., Any])
PROCESS_NAMES = [process.value for process in ArrivalProcess if process is not ArrivalProcess.BURST]
ARRIVAL_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--arrivals", type=click.Choice(PROCESS_NAMES), help="Arrivals of your choice instead of scenarios."),
    click.option(
        "--factor",
        type=POSITIVE,
        help=f"Of the rate: a step's, spike's or wave's top. [default: {DEFAULT_SHAPE.factor:g}]",
    ),
    click.option(
        "--period", type=POSITIVE, help=f"Seconds of one turn of a square wave. [default: {DEFAULT_SHAPE.period_s:g}]"
    ),
    click.option(
        "--trace",
        type=click.Path(path_type=Path, dir_okay=False),
        help="What to replay: seconds, one a line, or a samples.jsonl.",
    ),
)


def with_arrival_options(command: F) -> F:
    """The options, on a command that hands them to ``scenario_by_hand``."""
    return reduce(lambda made, option: option(made), reversed(ARRIVAL_OPTIONS), command)


def scenario_from_options(
    names: Sequence[str], *, arrivals: str | None, factor: float | None, period: float | None, trace: Path | None
) -> Scenario | None:
    """None where no arrivals were chosen; ``names`` are the scenarios that were. Raises click.UsageError."""
    replayed = arrivals == ArrivalProcess.REPLAY
    if replayed is not (trace is not None):
        raise click.UsageError("--arrivals replay and --trace FILE go together")
    if arrivals is None:
        if factor or period:
            raise click.UsageError("--factor and --period are of arrivals of your own: choose them with --arrivals")
        return None
    if names:
        raise click.UsageError(
            f"a scenario has arrivals of its own: leave out --scenario {' and '.join(names)} or --arrivals {arrivals}"
        )
    try:
        recorded = traces.read_trace(trace) if trace else ()
    except TraceUnreadable as wrong:
        raise click.UsageError(str(wrong)) from wrong
    return custom_scenario(
        ArrivalProcess(arrivals),
        ArrivalShape(factor or DEFAULT_SHAPE.factor, period or DEFAULT_SHAPE.period_s, recorded),
    )
