"""What is given by mistake on the command line is refused as such: exit status 2, a word about it, nothing started."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import rich_click as click
from click.testing import CliRunner

from prebook.cli.main import main as prebook
from prebook.devstack import temporary_suite
from prebook.devstack.parameters import FiniteRange
from prebook.devstack.service_environment import SuiteOptions
from prebook.lab.burst.command import measure
from prebook.lab.cli import main as lab

COMMANDS = {"prebook": prebook, "lab": lab}


def options(command: click.Command, path: str) -> Iterator[tuple[str, click.Parameter]]:
    """Of the command and all below it, by where they are."""
    for parameter in command.params:
        yield f"{path} {parameter.opts[0]}", parameter
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            assert below is not None
            yield from options(below, f"{path} {name}")


OPTIONS = [found for name, command in COMMANDS.items() for found in options(command, name)]


def refused(command: click.Command, *arguments: str) -> str:
    """What it says: each word after one space, without a frame."""
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 2, done.output
    return " ".join(done.output.replace("\u2502", " ").split())


def test_no_option_takes_a_number_that_is_none() -> None:
    floats = {name: option.type for name, option in OPTIONS if option.type.name.startswith("float")}
    known = {"prebook load burst --factor", "prebook demo --rate", "lab campaign --rate", "prebook bench --minutes"}
    assert known <= floats.keys()
    assert {name: kind for name, kind in floats.items() if not isinstance(kind, FiniteRange)} == {}


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "NaN", "1e999"])
@pytest.mark.parametrize("option", ["--rate", "--duration", "--max-lag"])
def test_a_number_that_is_not_finite_is_refused(option: str, value: str) -> None:
    assert f"'{option}'" in refused(lab, "self-test", option, value)


def test_it_is_said_what_to_give_instead() -> None:
    assert "nan is not finite; give a number such as 2.5." in refused(prebook, "load", "burst", "--factor", "nan")


def test_a_self_test_without_an_arrival_is_refused() -> None:
    said = refused(lab, "self-test", "--rate", "0.1", "--duration", "0.1")
    assert "fewer than 5 arrivals in 0.1 s at 0.1 per second; raise --rate or --duration" in said


REPORTING = [(prebook, "demo"), (prebook, "load", "burst"), (lab, "campaign")]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would have been played on a suite of its own."""
    asked: list[str] = []

    def played(what: str, *_: object, **__: object) -> int:
        asked.append(what)
        return 1

    monkeypatch.setattr(temporary_suite, "run_lab", played)
    return asked


@pytest.mark.parametrize("below", ["", "further/down"])
@pytest.mark.parametrize(("command", "names"), [(command, names) for command, *names in REPORTING])
def test_a_file_in_the_place_of_a_report_is_refused(
    command: click.Command, names: list[str], below: str, tmp_path: Path, started: list[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    said = refused(command, *names, "--report", str(file / below))
    assert "'--report'" in said
    assert (file.read_text(), started) == ("kept", [])


def test_a_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "choose another folder" in refused(prebook, "demo", "--report", str(tmp_path / "new"))
    assert not started


def test_a_burst_that_cannot_clear_its_folder_does_not_start(tmp_path: Path, started: list[str]) -> None:
    (tmp_path / "off.json").mkdir()
    assert "choose another folder with --report" in refused(prebook, "load", "burst", "--report", str(tmp_path))
    assert not started


def test_what_an_earlier_burst_measured_is_not_judged_again(tmp_path: Path, started: list[str]) -> None:
    for name in ("on.json", "off.json", "report.json"):
        (tmp_path / name).write_text("{}")
    CliRunner().invoke(prebook, ["load", "burst", "--report", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert started == ["a burst with back pressure on"]


def test_a_mistake_among_the_campaigns_options_is_refused_before_a_suite_is_started(started: list[str]) -> None:
    assert "choose them with --arrivals" in refused(prebook, "demo", "--factor", "2")
    assert not started


def handed_on(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[list[str], SuiteOptions]:
    """Arguments of the program that would have been run, and the suite that would have been started for it."""
    found: list[tuple[list[str], SuiteOptions]] = []

    def run_lab(_: str, handed: list[str], suite: SuiteOptions, **__: object) -> int:
        found.append((handed, suite))
        return 1

    monkeypatch.setattr(temporary_suite, "run_lab", run_lab)
    done = CliRunner().invoke(prebook, arguments)
    assert done.exit_code == 1, done.output
    return found[0]


def test_demo_hands_on_each_option_as_it_was_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = [
        "--quick",
        "--seed",
        "3",
        "--scenario",
        "calm",
        "--scenario",
        "overload",
        "--report",
        str(tmp_path / "new"),
    ]
    handed, suite = handed_on(monkeypatch, "demo", *given)
    assert (handed[0], suite.seed) == ("campaign", 3)
    parsed = [lab.commands["campaign"].make_context("campaign", words).params for words in (given, handed[1:])]
    assert parsed[0] == parsed[1]


def test_chaos_keeps_to_itself_what_only_its_suite_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    handed, suite = handed_on(monkeypatch, "chaos", "--broker-nodes", "3", "--faults", "5", "--seed", "4")
    assert (suite.broker_nodes, suite.seed, suite.fault_proxies) == (3, 4, True)
    assert handed[0] == "chaos"
    params = lab.commands["chaos"].make_context("chaos", handed[1:]).params
    assert (params["faults"], params["seed"], params["rate"]) == (5, 4, None)


def test_each_side_of_a_burst_is_measured_with_the_same_options(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arguments = ("load", "burst", "--back-pressure", "off", "--capacity", "40", "--report", str(tmp_path))
    handed, suite = handed_on(monkeypatch, *arguments)
    assert suite.settings == {"PREBOOK_BACK_PRESSURE": "off"}
    assert handed[:2] == ["burst", "measure"]
    params = measure.make_context("measure", handed[2:]).params
    assert (params["side"], params["output_dir"], params["capacity"]) == ("off", tmp_path, 40.0)


def without_suite(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`prebook load` as a program, in a home where nothing runs."""
    command = (sys.executable, "-m", "prebook.cli", "load", *arguments)
    environ = {**os.environ, "PREBOOK_HOME": str(home)}
    return subprocess.run(command, env=environ, cwd=home, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("names", ["campaign", "self-test", "compare", "--scenario calm"])
def test_help_needs_no_suite(names: str, tmp_path: Path) -> None:
    done = without_suite(tmp_path, *names.split(), "-h")
    assert done.returncode == 0, done.stderr
    assert "Usage: prebook load" in done.stdout


@pytest.mark.parametrize("names", [(), ("burst",)])
def test_the_short_word_for_help_is_known_too(names: tuple[str, ...]) -> None:
    long, short = (CliRunner().invoke(prebook, ["load", *names, option]) for option in ("--help", "-h"))
    assert (short.exit_code, short.output) == (0, long.output)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(("--arrivals", "foo"), "'foo' is not one of"), (("campaign", "--no-such"), "No such option")],
)
def test_what_is_wrong_with_the_options_is_said_before_a_suite_is_asked_for(
    arguments: tuple[str, ...], named: str, tmp_path: Path
) -> None:
    done = without_suite(tmp_path, *arguments)
    assert done.returncode == 2
    assert named in done.stderr
    assert "prebook up" not in done.stderr


def test_where_nothing_is_wrong_with_them_the_suite_is_missed(tmp_path: Path) -> None:
    done = without_suite(tmp_path, "--scenario", "calm")
    assert done.returncode == 1
    assert f"no suite runs in {tmp_path}\nhint:  start one with `prebook up`" in done.stderr
    assert not list(tmp_path.iterdir()), "no folder of a report either"
