"""What is given by mistake on the command line is refused as such: exit status 2, a word about it, nothing started."""

from collections.abc import Iterator

import pytest
import rich_click as click
from click.testing import CliRunner

from loadtest.bench.cli import main as bench
from loadtest.cli import main as loadtest
from prebook.cli.main import main as prebook
from prebook.given import FiniteRange

COMMANDS = {"prebook": prebook, "loadtest": loadtest, "bench": bench}


def options(command: click.Command, path: str) -> Iterator[tuple[str, click.Parameter]]:
    """Of the command and all below it, by where they are."""
    for parameter in command.params:
        yield f"{path} {parameter.opts[0]}", parameter
    for name, below in command.commands.items() if isinstance(command, click.Group) else ():
        yield from options(below, f"{path} {name}")


OPTIONS = [found for name, command in COMMANDS.items() for found in options(command, name)]


def refused(command: click.Command, *arguments: str) -> str:
    """What it says: each word after one space, without a frame."""
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 2, done.output
    return " ".join(done.output.replace("\u2502", " ").split())


def test_no_option_takes_a_number_that_is_none() -> None:
    floats = {name: option.type for name, option in OPTIONS if option.type.name.startswith("float")}
    assert {"prebook load burst --factor", "loadtest campaign --rate", "bench --minutes"} <= floats.keys()
    assert {name: kind for name, kind in floats.items() if not isinstance(kind, FiniteRange)} == {}


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "NaN", "1e999"])
@pytest.mark.parametrize("option", ["--rate", "--duration", "--most-lag"])
def test_a_number_that_is_not_finite_is_refused(option: str, value: str) -> None:
    assert f"'{option}'" in refused(loadtest, "self-test", option, value)


def test_it_is_said_what_to_give_instead() -> None:
    assert "nan is not finite; give a number such as 2.5." in refused(prebook, "load", "burst", "--factor", "nan")


def test_a_self_test_without_an_arrival_is_refused() -> None:
    said = refused(loadtest, "self-test", "--rate", "0.1", "--duration", "0.1")
    assert "fewer than 5 arrivals in 0.1 s at 0.1 a second; raise --rate or --duration" in said
