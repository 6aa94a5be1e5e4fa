"""``python -m loadtest compare A B``."""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import rich_click as click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from prebook.lab.compare.comparison import ALL, GOODPUT, Comparison, Line, compared, shown
from prebook.lab.load.samples import Sample

SAMPLES, WIDE = "samples.jsonl", 150
RUN = click.Path(path_type=Path)


class RunUnreadable(Exception):
    """The text says what is wrong with a run's files."""


@click.command
@click.argument("a", type=RUN)
@click.argument("b", type=RUN)
@click.option("--seed", default=7, show_default=True, help="Of the resampling: the same seed, the same intervals.")
@click.option("--plans", is_flag=True, help="Also plan by plan, where all plans together are shown otherwise.")
@click.option("--json", "as_json", is_flag=True, help="Everything, plan by plan, as one JSON object.")
def compare(*, a: Path, b: Path, seed: int, plans: bool, as_json: bool) -> None:
    """Set two runs against each other: medians, p95, p99 and goodput; each difference with an interval of 95 %.

    A and B are report folders, or samples.jsonl files, such as those of a burst's two sides. Exit status 0 whatever
    differs, 1 where a run cannot be read.

    \b
    Examples:
      prebook load compare reports/before reports/after
      prebook load compare reports/burst/samples-on.jsonl reports/burst/samples-off.jsonl --plans
    """
    try:
        made = compared(read(a), read(b), names=(str(a), str(b)), seed=seed)
    except RunUnreadable as wrong:
        click.echo(f"Error: {wrong}", err=True)
        sys.exit(1)
    if as_json:
        click.echo(msgspec.json.encode(made).decode())
    else:
        Console(width=None if sys.stdout.isatty() else WIDE).print(*tables(made, plans=plans))


def read(of: Path) -> Sequence[Sample]:
    """Raises RunUnreadable."""
    path = of / SAMPLES if of.is_dir() else of
    try:
        samples = [msgspec.json.decode(line, type=Sample) for line in path.read_bytes().splitlines()]
    except (OSError, msgspec.DecodeError) as error:
        raise RunUnreadable(
            f"{path} holds no samples ({error}); give the folder of a report, or its {SAMPLES}"
        ) from error
    if not samples:
        raise RunUnreadable(f"{path} is empty: nothing was offered in that run; give another one")
    return samples


def tables(made: Comparison, *, plans: bool) -> list[Table | str]:
    shown_lines = [line for line in made.lines if plans or line.label == ALL]
    scenarios = dict.fromkeys(line.scenario for line in shown_lines)
    found: list[Table | str] = [table(made, name, [x for x in shown_lines if x.scenario == name]) for name in scenarios]
    for run, only in ((made.a, made.only_in_a), (made.b, made.only_in_b)):
        if only:
            found.append(f"only in {run}: {', '.join(only)}")
    return found or ["the runs have no scenario in common"]


def table(made: Comparison, scenario: str, lines: Sequence[Line]) -> Table:
    title = f"{scenario}: a is {made.a}, b is {made.b}"
    drawn = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for head in ("plan", "", "", "a", "b", "b - a", "95 % interval", "in words"):
        drawn.add_column(head, justify="right" if head in {"a", "b", "b - a", "95 % interval"} else "left")
    for each in lines:
        drawn.add_row(each.label, each.metric, each.statistic, *figures(each), each.words)
    return drawn


def figures(line: Line) -> tuple[str, ...]:
    goodput = line.metric == GOODPUT

    def signed(value: float) -> str:
        return f"{'-' if value < 0 else '+'}{shown(abs(value), goodput=goodput)}"

    return (
        shown(line.a, goodput=goodput),
        shown(line.b, goodput=goodput),
        signed(line.difference),
        f"{signed(line.low)} to {signed(line.high)}",
    )
