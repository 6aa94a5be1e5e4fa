"""Arrivals of one's own from the command line, a generator that was late, and what it drives at all."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from prebook.lab import process_tree
from prebook.lab.burst.monitor import PRESSURE_LINE, UNSENT_LINE, unsent_total
from prebook.lab.cli import main
from prebook.lab.load.samples import encode_samples
from prebook.lab.load.self_test import run_self_test, self_test_report
from prebook.lab.load.stub_server import request_size
from prebook.lab.report.model import CampaignReport
from tests.loadtest.books import sample
from tests.loadtest.schema import schema_errors
from tests.loadtest.standin import StandIn, serving
from tests.loadtest.test_program import run_program


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
    async with serving(StandIn()) as suite:
        status, out, err = await run_program(suite, tmp_path, *arguments, "--max-lag", "5000", "--json")
    assert status == 0, err
    assert schema_errors(out.encode()) == []
    (scenario,) = msgspec.json.decode(out, type=CampaignReport).scenarios
    assert (scenario.name, scenario.arrivals.process) == (process, process)


async def test_an_earlier_run_is_replayed_at_its_own_moments(tmp_path: Path) -> None:
    earlier = tmp_path / "samples.jsonl"
    earlier.write_bytes(encode_samples(sample(n, when=5.0 + n / 50) for n in range(20)))
    arguments = ("--arrivals", "replay", "--trace", str(earlier), "--max-lag", "5000")
    async with serving(StandIn()) as suite:
        status, _, err = await run_program(suite, tmp_path / "again", *arguments)
    assert status == 0, err
    kept = (tmp_path / "again" / "samples.jsonl").read_bytes().splitlines()
    assert len(kept) == 20


async def test_a_generator_that_was_late_refuses_its_result(tmp_path: Path) -> None:
    """No request leaves to the microsecond."""
    arguments = ("--arrivals", "constant", "--rate", "30", "--duration", "0.5", "--max-lag", "0.000001")
    async with serving(StandIn()) as suite:
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


async def test_the_generator_drives_every_arrival_and_knows_how_late_each_was() -> None:
    made = await run_self_test(rate_per_s=300.0, duration_s=0.5)

    assert (made.arrivals, made.accepted) == (150, 150)
    assert made.cpu_us > 0
    assert made.lag_ms.count == made.response_ms.count == 150
    assert made.lag_ms.max <= made.response_ms.max


def test_the_rate_is_that_of_the_requests_that_left() -> None:
    late = [msgspec.structs.replace(sample(n, when=n / 10), lag_ms=100.0 * n) for n in range(11)]

    assert self_test_report(late, 10.0, cpu_s=0.011).offered_per_s == pytest.approx(5.0)
    assert self_test_report(late, 10.0, cpu_s=0.011).cpu_us == pytest.approx(1000.0)


@pytest.mark.parametrize(
    ("heard", "size"),
    [
        (b"", 0),
        (b"GET / HTTP/1.1\r\n\r\n", 18),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab", 0),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcPOST", 41),
    ],
)
def test_the_answerer_knows_where_a_request_ends(heard: bytes, size: int) -> None:
    assert request_size(heard) == size


def test_memory_is_that_of_a_process_and_all_below_it() -> None:
    hold = "x = bytearray(b'1') * 40_000_000; print('held', flush=True); input()"
    before = process_tree.read_pss_mb({"us": os.getpid()})["us"]
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.readline() == b"held\n"
        both = process_tree.read_pss_mb({"us": os.getpid(), "child": child.pid, "gone": 2**22 + 1})
        child.communicate(b"\n")

    assert both.keys() == {"us", "child"}
    assert both["child"] >= 38
    assert both["us"] >= before + 38


def test_what_services_say_of_themselves_is_read_from_their_metrics() -> None:
    page = (
        'prebook_load_ratio{load="waiting_riders"} 0.25\n'
        'prebook_messages_send_failed_total{coupling="one_way",flow="notify_rider",kind="request"} 3.0\n'
        'prebook_messages_send_failed_total{coupling="async_api",flow="quote_fare",kind="request"} 5.0\n'
    )
    pages = dict.fromkeys(("booking", "pricing", "matching", "notification", "fleets"), page)

    assert PRESSURE_LINE.findall(page) == [("waiting_riders", "0.25")]
    assert UNSENT_LINE.findall(page) == ["3.0"], "calls that failed are no publishes"
    assert unsent_total(pages) == 15
    assert unsent_total({"booking": page}) is None
