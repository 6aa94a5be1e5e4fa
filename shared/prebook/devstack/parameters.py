"""Parameter types and options that several commands of `prebook` and of the lab share, each declared once."""

import math
import os
from collections.abc import Callable, Collection, Mapping
from functools import reduce
from pathlib import Path
from typing import Any, Protocol, TypeVar

import rich_click as click

from prebook.devstack.service_environment import BROKER_NODE_CHOICES

F = TypeVar("F", bound=Callable[..., Any])


class Decorator(Protocol):
    """Adds options or arguments to a command."""

    def __call__(self, command: F, /) -> F: ...


class FiniteRange(click.FloatRange):
    """A float range that refuses `nan`, which passes every bound, and `inf`, which never ends."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number. Fails the command with a usage error unless it is finite and within the range."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not finite; give a number such as 2.5.", param, ctx)
        return number


class WritableFolder(click.Path):
    """A folder to write into. One that does not exist yet is checked at its nearest existing parent."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the folder, which need not exist. Fails the command with a usage error if it cannot be written to."""
        folder = Path(os.fsdecode(super().convert(value, param, ctx)))
        existing = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            reason = "cannot be written to" if existing.is_dir() else "is not a folder"
            self.fail(f"{existing} {reason}; choose another folder.", param, ctx)
        return folder


POSITIVE = FiniteRange(min=0, min_open=True)
POSITIVE_COUNT = click.IntRange(min=1)
WRITABLE_FOLDER = WritableFolder()
DEFAULT_SEED = 7


def json_option(help_text: str = "Print one JSON document to stdout.") -> Decorator:
    """Decorator that adds ``--json``, passed as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help=help_text)


def seed_option(help_text: str) -> Decorator:
    """Decorator that adds ``--seed`` of the random generators."""
    return click.option("--seed", type=int, default=DEFAULT_SEED, show_default=True, help=help_text)


def rate_option(help_text: str, *, value_range: click.FloatRange = POSITIVE, default: float | None = None) -> Decorator:
    """Decorator that adds ``--rate``, a number per second within ``value_range``."""
    return click.option("--rate", type=value_range, default=default, show_default=True, help=help_text)


def report_option(default: str, help_text: str) -> Decorator:
    """Decorator that adds ``--report FOLDER``, passed as ``report_dir``."""
    return click.option(
        "--report", "report_dir", type=WRITABLE_FOLDER, default=Path(default), show_default=True, help=help_text
    )


def apply_option(help_text: str) -> Decorator:
    """Decorator that adds the flag ``--apply``, without which the command is a dry run."""
    return click.option("--apply", is_flag=True, help=help_text)


def force_option(help_text: str) -> Decorator:
    """Decorator that adds the flag ``--force``."""
    return click.option("--force", is_flag=True, help=help_text)


def ignore_expiry_option(help_text: str) -> Decorator:
    """Decorator that adds the flag ``--ignore-expiry``."""
    return click.option("--ignore-expiry", is_flag=True, help=help_text)


def reason_option(help_text: str) -> Decorator:
    """Decorator that adds the required ``--reason``."""
    return click.option("--reason", required=True, help=help_text)


def state_option(states: tuple[str, ...], help_text: str) -> Decorator:
    """Decorator that adds the repeatable ``--state``, passed as ``states``."""
    return click.option("--state", "states", type=click.Choice(states), multiple=True, help=help_text)


broker_nodes_option = click.option(
    "--broker-nodes",
    type=click.Choice(BROKER_NODE_CHOICES),
    default=BROKER_NODE_CHOICES[0],
    show_default=True,
    envvar="PREBOOK_BROKER_NODES",
    help="Number of broker nodes. 3 form a cluster with quorum queues, which survive the loss of any one node.",
)


def filter_options(help_texts: Mapping[str, str]) -> Decorator:
    """Decorator that adds one text option per key; an absent option is passed as ""."""

    def decorate(command: F) -> F:
        options = [
            click.option(f"--{name.replace('_', '-')}", name, default="", help=text)
            for name, text in help_texts.items()
        ]
        return combine(*options)(command)

    return decorate


def selection_options(help_texts: Mapping[str, str], all_help: str) -> Decorator:
    """Decorator that adds IDS, filters and `--all`; ``require_one_selection`` checks that exactly one way is used."""
    return combine(
        click.argument("ids", nargs=-1, type=click.IntRange(min=1)),
        filter_options(help_texts),
        click.option("--all", "everything", is_flag=True, help=all_help),
    )


def id_argument(name: str) -> Decorator:
    """Decorator that adds a positive integer argument, shown as ID in the usage line."""
    return click.argument(name, metavar="ID", type=click.IntRange(min=1))


def require_one_selection(subject: str, ids: tuple[int, ...], everything: bool, filters: Mapping[str, str]) -> None:
    """Check that ``subject`` are selected in exactly one way. Raises click.UsageError."""
    if [bool(ids), everything, any(filters.values())].count(True) != 1:
        raise click.UsageError(f"say which {subject}: either IDS, or filters such as --cause, or --all")


def given_filters(filters: Mapping[str, str]) -> dict[str, str]:
    """Return the filters that have a value."""
    return {name: value for name, value in filters.items() if value}


def arguments_of(ctx: click.Context, *, without: Collection[str] = ()) -> list[str]:
    """Return the options of the running command as arguments of another command that has the same options.

    ``without``: names of parameters to leave out. Options without a value are left out too.
    """
    arguments: list[str] = []
    for option in ctx.command.params:
        value = ctx.params.get(option.name or "")
        if option.name in without or not isinstance(option, click.Option) or value is None:
            continue
        if option.is_flag:
            arguments += option.opts[:1] if value else []
        else:
            values = value if option.multiple else (value,)
            arguments += [word for each in values for word in (option.opts[0], str(each))]
    return arguments


def combine(*options: Decorator) -> Decorator:
    """Combine options to one decorator; help shows them in the given order."""

    def decorate(command: F) -> F:
        return reduce(lambda decorated, option: option(decorated), reversed(options), command)

    return decorate
