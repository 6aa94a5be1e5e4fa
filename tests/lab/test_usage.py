"""Usage errors of the lab's commands: exit status 2, a remedy, and nothing started."""

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
from prebook.devstack.temporary_suite import LabRun
from prebook.lab.burst.command import measure
from prebook.lab.cli import main as lab

COMMANDS = {"prebook": prebook, "lab": lab}


def options(command: click.Command, path: str) -> Iterator[tuple[str, click.Parameter]]:
    """Yield the options of a command and its subcommands, each with its path."""
    for parameter in command.params:
        yield f"{path} {parameter.opts[0]}", parameter
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            subcommand = command.get_command(ctx, name)
            assert subcommand is not None
            yield from options(subcommand, f"{path} {name}")


OPTIONS = [option for name, command in COMMANDS.items() for option in options(command, name)]


def usage_error(command: click.Command, *arguments: str) -> str:
    """Return the text of a usage error without rich's frame, words separated by single spaces."""
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2, result.output
    return " ".join(result.output.replace("\u2502", " ").split())


def test_every_number_option_accepts_only_finite_numbers() -> None:
    floats = {name: option.type for name, option in OPTIONS if option.type.name.startswith("float")}
    known = {"prebook load burst --factor", "prebook demo --rate", "lab campaign --rate", "prebook bench --minutes"}
    assert known <= floats.keys()
    assert {name: kind for name, kind in floats.items() if not isinstance(kind, FiniteRange)} == {}


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "NaN", "1e999"])
@pytest.mark.parametrize("option", ["--rate", "--duration", "--max-lag"])
def test_a_number_that_is_not_finite_is_refused(option: str, value: str) -> None:
    assert f"'{option}'" in usage_error(lab, "self-test", option, value)


def test_the_error_of_a_number_that_is_not_finite_has_a_remedy() -> None:
    assert "nan is not finite; give a number such as 2.5." in usage_error(prebook, "load", "burst", "--factor", "nan")


def test_a_self_test_without_arrivals_is_a_usage_error() -> None:
    error = usage_error(lab, "self-test", "--rate", "0.1", "--duration", "0.1")
    assert "fewer than 5 arrivals in 0.1 s at 0.1 per second; raise --rate or --duration" in error


REPORTING = [(prebook, "demo"), (prebook, "load", "burst"), (lab, "campaign")]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs for which a suite would have been started."""
    runs: list[str] = []

    def record_run(run: LabRun, *_: object) -> int:
        runs.append(run.description)
        return 1

    monkeypatch.setattr(temporary_suite, "run_lab", record_run)
    return runs


@pytest.mark.parametrize("subpath", ["", "further/down"])
@pytest.mark.parametrize(("command", "names"), [(command, names) for command, *names in REPORTING])
def test_a_file_in_place_of_the_report_folder_is_a_usage_error(
    command: click.Command, names: list[str], subpath: str, tmp_path: Path, started: list[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    error = usage_error(command, *names, "--report", str(file / subpath))
    assert "'--report'" in error
    assert (file.read_text(), started) == ("kept", [])


def test_a_report_folder_without_write_permission_is_a_usage_error(
    tmp_path: Path, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "choose another folder" in usage_error(prebook, "demo", "--report", str(tmp_path / "new"))
    assert not started


def test_a_burst_that_cannot_clear_its_folder_does_not_start(tmp_path: Path, started: list[str]) -> None:
    (tmp_path / "off.json").mkdir()
    assert "choose another folder with --report" in usage_error(prebook, "load", "burst", "--report", str(tmp_path))
    assert not started


def test_results_of_an_earlier_burst_are_removed(tmp_path: Path, started: list[str]) -> None:
    for name in ("on.json", "off.json", "report.json"):
        (tmp_path / name).write_text("{}")
    CliRunner().invoke(prebook, ["load", "burst", "--report", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert started == ["a burst with back pressure on"]


def test_a_usage_error_of_the_campaign_is_reported_before_a_suite_is_started(started: list[str]) -> None:
    assert "choose them with --arrivals" in usage_error(prebook, "demo", "--factor", "2")
    assert not started


def passed_arguments(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[list[str], SuiteOptions]:
    """Return the arguments of the program that would have run, and the options of its suite."""
    calls: list[tuple[list[str], SuiteOptions]] = []

    def run_lab(run: LabRun, suite: SuiteOptions, *_: object) -> int:
        calls.append((list(run.arguments), suite))
        return 1

    monkeypatch.setattr(temporary_suite, "run_lab", run_lab)
    result = CliRunner().invoke(prebook, arguments)
    assert result.exit_code == 1, result.output
    return calls[0]


def test_demo_passes_every_option_on_unchanged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    arguments = [
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
    passed, suite = passed_arguments(monkeypatch, "demo", *arguments)
    assert (passed[0], suite.seed) == ("campaign", 3)
    parsed = [lab.commands["campaign"].make_context("campaign", words).params for words in (arguments, passed[1:])]
    assert parsed[0] == parsed[1]


def test_chaos_passes_on_all_options_except_those_of_its_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    passed, suite = passed_arguments(monkeypatch, "chaos", "--broker-nodes", "3", "--faults", "5", "--seed", "4")
    assert (suite.broker_nodes, suite.seed, suite.fault_proxies) == (3, 4, True)
    assert passed[0] == "chaos"
    params = lab.commands["chaos"].make_context("chaos", passed[1:]).params
    assert (params["faults"], params["seed"], params["rate"]) == (5, 4, None)


def test_each_side_of_a_burst_is_measured_with_the_same_options(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arguments = ("load", "burst", "--back-pressure", "off", "--capacity", "40", "--report", str(tmp_path))
    passed, suite = passed_arguments(monkeypatch, *arguments)
    assert suite.settings == {"PREBOOK_BACK_PRESSURE": "off"}
    assert passed[:2] == ["burst", "measure"]
    params = measure.make_context("measure", passed[2:]).params
    assert (params["side"], params["output_dir"], params["capacity"]) == ("off", tmp_path, 40.0)


def without_suite(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `prebook load` as a program, with a home in which no suite runs."""
    command = (sys.executable, "-m", "prebook.cli", "load", *arguments)
    environ = {**os.environ, "PREBOOK_HOME": str(home)}
    return subprocess.run(command, env=environ, cwd=home, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("names", ["campaign", "self-test", "compare", "--scenario calm"])
def test_help_needs_no_suite(names: str, tmp_path: Path) -> None:
    result = without_suite(tmp_path, *names.split(), "-h")
    assert result.returncode == 0, result.stderr
    assert "Usage: prebook load" in result.stdout


@pytest.mark.parametrize("names", [(), ("burst",)])
def test_the_short_help_option_works(names: tuple[str, ...]) -> None:
    long, short = (CliRunner().invoke(prebook, ["load", *names, option]) for option in ("--help", "-h"))
    assert (short.exit_code, short.output) == (0, long.output)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--arrivals", "foo"), "'foo' is not one of"), (("campaign", "--no-such"), "No such option")],
)
def test_a_usage_error_is_reported_before_a_suite_is_looked_for(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    result = without_suite(tmp_path, *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "prebook up" not in result.stderr


def test_valid_options_without_a_running_suite_are_an_error(tmp_path: Path) -> None:
    result = without_suite(tmp_path, "--scenario", "calm")
    assert result.returncode == 1
    assert f"no suite is running in {tmp_path}\nhint:  start one with `prebook up`" in result.stderr
    assert not list(tmp_path.iterdir()), "no report folder is created"
