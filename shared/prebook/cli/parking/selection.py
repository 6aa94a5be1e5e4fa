"""Options that say which parked messages are meant."""

from collections.abc import Callable
from functools import reduce
from typing import Any, TypeVar

import rich_click as click

from prebook.contracts.dead_letters import DeadLetterFilter, DeadLetterSelection

json_option = click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document on stdout.")
F = TypeVar("F", bound=Callable[..., Any])
FILTER_HELP = {
    "group": "As `prebook parking groups` prints it.",
    "cause": "Such as attempts_used_up or wrong_schema.",
    "queue": "Where they failed.",
    "type": "Type of the message, such as prebook.quote_fare.v1.",
    "flow": "Flow or announcement.",
    "conversation": "Id of the booking.",
    "message_id": "Id of the message.",
}


def filter_options(command: F) -> F:
    """Keyword arguments named as the fields of a Filter, "" where not given."""
    options = [
        click.option(f"--{name.replace('_', '-')}", name, default="", help=text) for name, text in FILTER_HELP.items()
    ]
    return reduce(lambda decorated, option: option(decorated), reversed(options), command)


def selection_options(command: F) -> F:
    """IDS or filters or --all: hand them to ``selected``."""
    with_all = click.option("--all", "everything", is_flag=True, help="All of them.")
    return click.argument("ids", nargs=-1, type=click.IntRange(min=1))(filter_options(with_all(command)))


def parse_selection(ids: tuple[int, ...], everything: bool, filters: dict[str, str]) -> DeadLetterSelection:
    """Raises UsageError unless it is said in exactly one way."""
    narrowed = {name: value for name, value in filters.items() if value}
    if [bool(ids), everything, bool(narrowed)].count(True) != 1:
        raise click.UsageError("say which messages: either IDS, or filters such as --group, or --all")
    return DeadLetterSelection(ids=ids) if ids else DeadLetterSelection(where=DeadLetterFilter(**narrowed))
