"""`prebook load compare A B`: table or JSON of the differences between two runs."""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import rich_click as click
from rich.box import SIMPLE_HEAD
from rich.table import Table

from prebook.devstack.command_line import examples
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import json_option, seed_option
from prebook.devstack.terminal import PlainConsole, echo
from prebook.lab.compare.comparison import ALL_PLANS, GOODPUT, Comparison, ComparisonLine, compare_runs, value_text
from prebook.lab.load.samples import SAMPLES_FILE, Sample
from prebook.text_file import read_text

CONSOLE_WIDTH = 150
RUN_PATH = click.Path(path_type=Path)
EXAMPLES = examples(
    "prebook load compare reports/before reports/after",
    "prebook load compare reports/burst/samples-on.jsonl reports/burst/samples-off.jsonl --plans",
)


class RunUnreadable(UserError):
    """A run's samples cannot be read."""


@click.command(epilog=EXAMPLES)
@click.argument("a", type=RUN_PATH)
@click.argument("b", type=RUN_PATH)
@seed_option("Seed of the resampling: the same seed gives the same intervals.")
@click.option("--plans", is_flag=True, help="Show each plan in addition to all plans together.")
@json_option("Print all differences, including each plan's, as one JSON object to stdout.")
def compare(*, a: Path, b: Path, seed: int, plans: bool, as_json: bool) -> None:
    """Compare two runs: median, p95, p99 and goodput, with the 95 % confidence interval of each difference.

    A and B are report folders or samples.jsonl files, such as the two sides of a burst. Exit status 1 if a run cannot
    be read, otherwise 0, whatever the differences.
    """
    comparison = compare_runs(read_samples(a), read_samples(b), names=(str(a), str(b)), seed=seed)
    if as_json:
        echo(msgspec.json.encode(comparison))
    else:
        console = PlainConsole(width=None if sys.stdout.isatty() else CONSOLE_WIDTH)
        console.print(*comparison_tables(comparison, plans=plans))


def read_samples(run: Path) -> Sequence[Sample]:
    """Return the samples of ``run``, a report folder or a samples.jsonl file.

    Raises:
        RunUnreadable: The file is missing, holds other data, or is empty.
    """
    path = run / SAMPLES_FILE if run.is_dir() else run
    try:
        samples = [msgspec.json.decode(line, type=Sample) for line in read_text(path).encode().splitlines()]
    except (OSError, msgspec.DecodeError) as error:
        raise RunUnreadable(
            f"{path} holds no samples ({error})", f"give the folder of a report, or its {SAMPLES_FILE}"
        ) from error
    if not samples:
        raise RunUnreadable(f"{path} is empty: the run offered no rides", "give another run")
    return samples


def comparison_tables(comparison: Comparison, *, plans: bool) -> list[Table | str]:
    """Return one table per common scenario and a line for scenarios of one run only. ``plans``: include each plan."""
    lines = [line for line in comparison.lines if plans or line.label == ALL_PLANS]
    scenarios = dict.fromkeys(line.scenario for line in lines)
    parts: list[Table | str] = [
        scenario_table(comparison, name, [line for line in lines if line.scenario == name]) for name in scenarios
    ]
    for run, only in ((comparison.a, comparison.only_in_a), (comparison.b, comparison.only_in_b)):
        if only:
            parts.append(f"only in {run}: {', '.join(only)}")
    return parts or ["the runs have no scenario in common"]


def scenario_table(comparison: Comparison, scenario: str, lines: Sequence[ComparisonLine]) -> Table:
    """Return the table of one scenario with a row per line."""
    title = f"{scenario}: a is {comparison.a}, b is {comparison.b}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for heading in ("plan", "metric", "statistic", "a", "b", "b - a", "95 % interval", "summary"):
        table.add_column(heading, justify="right" if heading in {"a", "b", "b - a", "95 % interval"} else "left")
    for line in lines:
        table.add_row(line.label, line.metric, line.statistic, *figure_cells(line), line.summary)
    return table


def figure_cells(line: ComparisonLine) -> tuple[str, ...]:
    """Return the cells for both values, their difference and its interval."""
    goodput = line.metric == GOODPUT

    def signed(value: float) -> str:
        return f"{'-' if value < 0 else '+'}{value_text(abs(value), goodput=goodput)}"

    return (
        value_text(line.a, goodput=goodput),
        value_text(line.b, goodput=goodput),
        signed(line.difference),
        f"{signed(line.low)} to {signed(line.high)}",
    )
