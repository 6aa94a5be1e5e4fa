"""Custom arrivals on the command line, a replayed run, and a generator that lags."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from prebook.lab.campaign.command import EXIT_NOT_JUDGED
from prebook.lab.cli import main
from prebook.lab.load.samples import encode_samples
from prebook.lab.report.model import CampaignReport
from tests.lab.campaign.campaign_runs import run_program
from tests.lab.ledger.accounts_builder import sample
from tests.lab.report.schema import schema_errors
from tests.lab.stub_suite import StubSuite, serve_stub


@pytest.mark.parametrize(
    ("arguments", "process"),
    [
        (("--arrivals", "square", "--rate", "15", "--factor", "3", "--period", "0.5", "--duration", "1"), "square"),
        (("--arrivals", "step", "--rate", "15", "--duration", "1"), "step"),
    ],
)
async def test_custom_arrivals_run_and_are_named_in_the_report(
    arguments: tuple[str, ...], process: str, tmp_path: Path
) -> None:
    async with serve_stub(StubSuite()) as suite:
        status, out, err = await run_program(suite, tmp_path, *arguments, "--max-lag", "5000", "--json")
    assert status == 0, err
    assert schema_errors(out.encode()) == []
    (scenario,) = msgspec.json.decode(out, type=CampaignReport).scenarios
    assert (scenario.name, scenario.arrivals.process) == (process, process)


async def test_an_earlier_run_is_replayed_at_its_arrival_times(tmp_path: Path) -> None:
    earlier = tmp_path / "samples.jsonl"
    earlier.write_bytes(encode_samples(sample(n, when=5.0 + n / 50) for n in range(20)))
    arguments = ("--arrivals", "replay", "--trace", str(earlier), "--max-lag", "5000")
    async with serve_stub(StubSuite()) as suite:
        status, _, err = await run_program(suite, tmp_path / "again", *arguments)
    assert status == 0, err
    replayed = (tmp_path / "again" / "samples.jsonl").read_bytes().splitlines()
    assert len(replayed) == 20


async def test_a_lagging_generator_is_told_apart_from_a_failure(tmp_path: Path) -> None:
    """No request is sent exactly on time, so a limit of a nanosecond is always exceeded."""
    arguments = ("--arrivals", "constant", "--rate", "30", "--duration", "0.5", "--max-lag", "0.000001")
    async with serve_stub(StubSuite()) as suite:
        status, out, _ = await run_program(suite, tmp_path, *arguments)
    assert status == EXIT_NOT_JUDGED
    assert "not judged: constant: the load generator lagged" in " ".join(out.replace("\u2502", " ").split())


@pytest.mark.parametrize(
    "arguments", [("--arrivals", "replay"), ("--trace", "somewhere"), ("--arrivals", "replay", "--trace", "nowhere")]
)
def test_a_missing_trace_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, ["campaign", *arguments])

    assert done.exit_code == 2
    assert "replay" in done.output


def test_custom_arrivals_and_a_scenario_exclude_each_other() -> None:
    arguments = ("--arrivals", "constant", "--scenario", "calm", "--scenario", "overload")
    done = CliRunner().invoke(main, ["campaign", *arguments])

    assert done.exit_code == 2
    output = " ".join(done.output.replace("\u2502", " ").split())
    assert "leave out --scenario calm and overload or --arrivals constant" in output


@pytest.mark.parametrize("shape", [("--factor", "6"), ("--period", "8")])
def test_a_shape_without_arrivals_is_a_usage_error(shape: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, ["campaign", *shape])

    assert done.exit_code == 2
    assert "--arrivals" in done.output
