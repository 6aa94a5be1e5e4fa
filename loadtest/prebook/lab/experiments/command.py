"""`prebook lab`: the registry of experiments, and the commands that run them."""

import sys
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click

from prebook.devstack.command_line import examples, log_to_stderr, log_warnings_only, run_interruptible
from prebook.devstack.parameters import combine, json_option, report_option, seed_option
from prebook.devstack.terminal import echo
from prebook.lab.exit_status import exit_status_of
from prebook.lab.experiments.console import experiments_table, print_result, print_table, to_markdown
from prebook.lab.experiments.experiment import Experiment, Section
from prebook.lab.experiments.page import write_page
from prebook.lab.experiments.registry import EXPERIMENTS, find_experiments
from prebook.lab.experiments.result import ExperimentResult, exit_status
from prebook.lab.experiments.result_files import prepare_folder, write_result
from prebook.lab.experiments.runner import PlannedRun, run_planned
from prebook.lab.experiments.variability.command import coupling

DEFAULT_FOLDER = "reports/lab"
EXIT_HELP = (
    "Exit status 1 if a law was violated, if the wrong way did not violate it, or if something was not measured for "
    "another reason than an absent prerequisite."
)
Show = Callable[[ExperimentResult], None]

quick_option = click.option("--quick", is_flag=True, help="Use the quick size of each experiment.")
output_options = combine(
    quick_option,
    seed_option("Seed of everything that is drawn at random."),
    json_option("Print one prebook.experiment/1 document per line to stdout, progress to stderr."),
    click.option("--markdown", is_flag=True, help="Print Markdown tables."),
    report_option(DEFAULT_FOLDER, "Folder for the results, which `prebook lab page` reads."),
)
section_option = click.option(
    "--section", type=click.Choice([str(section) for section in Section]), help="Only experiments of this section."
)


@click.group()
def lab() -> None:
    """Run experiments on servers of their own; a running suite is not affected.

    An experiment shows a claim by a law, and by the wrong way beside the right one, which must violate the law.
    """
    log_warnings_only()


@lab.command("list", epilog=examples("prebook lab list", "prebook lab list --section ordering --json | jq .[].law"))
@section_option
@json_option()
def list_experiments(*, section: str | None, as_json: bool) -> None:
    """List the experiments: name, section, claims of the talk, and the claim in one sentence."""
    chosen = find_experiments(Section(section) if section else None)
    if as_json:
        echo(msgspec.json.encode([describe(each) for each in chosen]))
    else:
        print_table(experiments_table(chosen))


@lab.group(
    "run",
    invoke_without_command=True,
    epilog=examples(
        "prebook lab run order",
        "prebook lab run order --keys 100 --consumers 4 --rounds 5",
        "prebook lab run order --quick --json | jq .checks",
        "prebook lab run --section ordering --quick",
    ),
)
@section_option
@output_options
@click.pass_context
def run(ctx: click.Context, /, *, section: str | None, **output: Any) -> None:
    """Run one experiment by its name, or all of a section.

    Options of one experiment stand after its name: `prebook lab run order --help` lists them.
    """
    if ctx.invoked_subcommand:
        if any(_is_given(ctx, name) for name in ctx.params):
            raise click.UsageError(f"write the options after the name: prebook lab run {ctx.invoked_subcommand} ...")
        return
    if section is None:
        raise click.UsageError("name an experiment (`prebook lab list` shows them), or give --section")
    run_all(find_experiments(Section(section)), **output)


@lab.command("all", epilog=examples("prebook lab all --quick", "prebook lab all --report reports/lab --seed 3"))
@output_options
def run_everything(**output: Any) -> None:
    """Run all experiments one after the other, on one broker and one database, and write the page."""
    run_all(EXPERIMENTS, writes_page=True, **output)


run_everything.help = f"{run_everything.help}\n\n{EXIT_HELP}"


def run_all(experiments: Sequence[Experiment[Any]], *, quick: bool, seed: int, **output: Any) -> None:
    """Run experiments in their registered size and exit."""
    run_and_exit([registered_run(each, quick=quick, seed=seed) for each in experiments], **output)


def registered_run(experiment: Experiment[Any], *, quick: bool, seed: int) -> PlannedRun:
    """Return the run of an experiment in its quick or full size."""
    if quick:
        return PlannedRun(experiment, experiment.quick, seed, experiment.quick_time_limit_s)
    return PlannedRun(experiment, experiment.full, seed, experiment.time_limit_s)


@lab.command("page", epilog=examples("prebook lab page", "prebook lab page --report reports/lab --output lab.html"))
@report_option(DEFAULT_FOLDER, "Folder with the results of earlier runs.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write. [default: index.html there]"
)
def write_lab_page(*, report_dir: Path, output: Path | None) -> None:
    """Write one offline HTML page: the sections of the talk, and the last run of each experiment.

    An experiment without a run has no row. Print the path of the page.
    """
    echo(str(write_page(report_dir, EXPERIMENTS, output)))


def run_and_exit(
    runs: Sequence[PlannedRun], *, as_json: bool, markdown: bool, report_dir: Path, writes_page: bool = False
) -> None:
    """Run experiments, show each result when it is there, write it to ``report_dir``, and exit.

    ``writes_page``: whether the page about all results in the folder is written too.
    """
    prepare_folder(report_dir)

    show: Show = _show_json if as_json else _show_markdown if markdown else print_result

    async def run_runs() -> int:
        results = []
        async with aclosing(run_planned(runs, log_to_stderr)) as measured:
            async for result in measured:
                write_result(report_dir, result)
                show(result)
                results.append(result)
        if writes_page:
            log_to_stderr(f"page: {write_page(report_dir, EXPERIMENTS)}")
        return exit_status(results)

    sys.exit(exit_status_of(lambda: run_interruptible(run_runs()), "the running experiment has no result"))


def _show_json(result: ExperimentResult) -> None:
    echo(msgspec.json.encode(result))


def _show_markdown(result: ExperimentResult) -> None:
    echo("\n".join(to_markdown(result)))


def describe(experiment: Experiment[Any]) -> dict[str, Any]:
    """Return an experiment's description for --json."""
    names = ("name", "section", "claims", "pattern", "code", "claim", "varies", "law", "wrong_way", "expected")
    limits = ("time_limit_s", "quick_time_limit_s", "full", "quick")
    return {name: getattr(experiment, name) for name in (*names, *limits)}


def experiment_command(experiment: Experiment[Any]) -> click.Command:
    """Return the command that runs one experiment, with an option for each part of its size."""

    def callback(*, quick: bool, seed: int, **given: Any) -> None:
        planned = registered_run(experiment, quick=quick, seed=seed)
        sizes = {name: given.pop(name) for name in experiment.option_names}
        chosen = {name: value for name, value in sizes.items() if value is not None}
        if chosen:
            size = msgspec.convert({**msgspec.structs.asdict(planned.size), **chosen}, type(planned.size))
            experiment.check_size(size)
            planned = PlannedRun(experiment, size, seed, None)
        run_and_exit([planned], **given)

    command = click.command(experiment.name, help=help_text(experiment), epilog=example_text(experiment))(callback)
    output_options(command)
    command.params[:0] = [size_parameter(experiment, option.name) for option in experiment.options]
    return command


def _is_given(ctx: click.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def size_parameter(experiment: Experiment[Any], name: str) -> click.Option:
    """Return the option for one part of the size."""
    (option,) = (each for each in experiment.options if each.name == name)
    default = getattr(experiment.full, name)
    quick = getattr(experiment.quick, name)
    text = f"{option.help} [default: {default}; with --quick: {quick}]"
    return click.Option([f"--{name.replace('_', '-')}", name], type=option.type, help=text)


def help_text(experiment: Experiment[Any]) -> str:
    """Return the help of an experiment's command."""
    wrong_way = f"The wrong way beside it: {experiment.wrong_way}." if experiment.wrong_way else ""
    parts = (
        f"{experiment.claim} ({', '.join(experiment.claims)})",
        f"Varies {experiment.varies}. Law: {experiment.law}. {wrong_way}",
        f"Expected: {experiment.expected}",
        EXIT_HELP,
    )
    return "\n\n".join(part.strip() for part in parts)


def example_text(experiment: Experiment[Any]) -> str:
    """Return the examples in the help of an experiment's command."""
    name = f"prebook lab run {experiment.name}"
    return examples(name, f"{name} --quick --seed 3", f"{name} --json | jq .checks")


lab.add_command(coupling)
for each_experiment in EXPERIMENTS:
    run.add_command(experiment_command(each_experiment))
