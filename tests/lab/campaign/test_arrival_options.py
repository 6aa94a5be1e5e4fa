"""Arrivals chosen on the command line, a replayed run, and a generator that was late."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

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
async def test_arrivals_of_ones_own_are_played_and_named(
    arguments: tuple[str, ...], process: str, tmp_path: Path
) -> None:
    async with serve_stub(StubSuite()) as suite:
        status, out, err = await run_program(suite, tmp_path, *arguments, "--max-lag", "5000", "--json")
    assert status == 0, err
    assert schema_errors(out.encode()) == []
    (scenario,) = msgspec.json.decode(out, type=CampaignReport).scenarios
    assert (scenario.name, scenario.arrivals.process) == (process, process)


async def test_an_earlier_run_is_replayed_at_its_own_moments(tmp_path: Path) -> None:
    earlier = tmp_path / "samples.jsonl"
    earlier.write_bytes(encode_samples(sample(n, when=5.0 + n / 50) for n in range(20)))
    arguments = ("--arrivals", "replay", "--trace", str(earlier), "--max-lag", "5000")
    async with serve_stub(StubSuite()) as suite:
        status, _, err = await run_program(suite, tmp_path / "again", *arguments)
    assert status == 0, err
    kept = (tmp_path / "again" / "samples.jsonl").read_bytes().splitlines()
    assert len(kept) == 20


async def test_a_generator_that_was_late_refuses_its_result(tmp_path: Path) -> None:
    """No request leaves to the microsecond."""
    arguments = ("--arrivals", "constant", "--rate", "30", "--duration", "0.5", "--max-lag", "0.000001")
    async with serve_stub(StubSuite()) as suite:
        status, out, _ = await run_program(suite, tmp_path, *arguments)
    assert status == 1
    assert "the result is invalid" in " ".join(out.replace("\u2502", " ").split())


@pytest.mark.parametrize(
    "arguments", [("--arrivals", "replay"), ("--trace", "somewhere"), ("--arrivals", "replay", "--trace", "nowhere")]
)
def test_a_trace_that_is_not_to_be_had_is_a_mistake_of_usage(arguments: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, ["campaign", *arguments])

    assert done.exit_code == 2
    assert "replay" in done.output


def test_arrivals_of_ones_own_are_for_no_scenario_of_the_catalogue() -> None:
    chosen = ("--arrivals", "constant", "--scenario", "calm", "--scenario", "overload")
    done = CliRunner().invoke(main, ["campaign", *chosen])

    assert done.exit_code == 2
    said = " ".join(done.output.replace("\u2502", " ").split())
    assert "leave out --scenario calm and overload or --arrivals constant" in said


@pytest.mark.parametrize("shape", [("--factor", "6"), ("--period", "8")])
def test_a_shape_without_arrivals_is_a_mistake_of_usage(shape: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, ["campaign", *shape])

    assert done.exit_code == 2
    assert "--arrivals" in done.output
