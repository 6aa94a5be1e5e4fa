"""Arrival shapes raise the rate in the right places, and recorded traces are replayed exactly."""

from pathlib import Path

import pytest

from prebook.lab.campaign.scenarios import custom_scenario
from prebook.lab.load import traces
from prebook.lab.load.arrivals import ArrivalProcess, Arrivals, ArrivalShape, arrival_offsets
from prebook.lab.load.samples import encode_samples
from prebook.lab.load.traces import TraceUnreadable
from tests.lab.ledger.accounts_builder import sample

RATE = 20.0
DURATION_S = 200.0
FACTOR = 4.0
IS_HIGH = {
    ArrivalProcess.STEP: lambda at_s: at_s >= DURATION_S / 2,
    ArrivalProcess.SPIKE: lambda at_s: 0.45 * DURATION_S <= at_s < 0.55 * DURATION_S,
    ArrivalProcess.SQUARE: lambda at_s: at_s % 10.0 >= 5.0,
}
SHARES = {ArrivalProcess.STEP: 0.5, ArrivalProcess.SPIKE: 0.1, ArrivalProcess.SQUARE: 0.5}


@pytest.mark.parametrize("process", IS_HIGH)
def test_a_shape_multiplies_the_rate_only_in_its_high_part(process: ArrivalProcess) -> None:
    times = arrival_offsets(Arrivals(process, RATE, DURATION_S, shape=ArrivalShape(FACTOR, period_s=10.0)), "7")
    high = sum(map(IS_HIGH[process], times))
    share = SHARES[process]

    assert high == pytest.approx(RATE * FACTOR * DURATION_S * share, rel=0.08)
    assert len(times) - high == pytest.approx(RATE * DURATION_S * (1 - share), rel=0.08)
    assert list(times) == sorted(times)
    assert times != arrival_offsets(Arrivals(process, RATE, DURATION_S, shape=ArrivalShape(FACTOR)), "8")


def test_a_square_wave_ends_with_the_duration() -> None:
    times = arrival_offsets(Arrivals(ArrivalProcess.SQUARE, 50.0, 12.5, shape=ArrivalShape(2.0, period_s=10.0)), "7")

    assert 12.0 < max(times) < 12.5


def test_a_trace_of_numbers_is_replayed_relative_to_its_first_arrival(tmp_path: Path) -> None:
    file = tmp_path / "trace"
    file.write_text("12.5\n10\n\n11.25\n")
    trace = traces.read_trace(file)
    scenario = custom_scenario(ArrivalProcess.REPLAY, ArrivalShape(trace=trace))

    assert trace == (0.0, 1.25, 2.5)
    assert arrival_offsets(scenario.arrivals(99.0, scenario.trace_duration_s or 0.0), "7") == trace
    assert arrival_offsets(Arrivals(ArrivalProcess.REPLAY, 99.0, 2.0, shape=ArrivalShape(trace=trace)), "7") == (
        0.0,
        1.25,
    )


def test_the_samples_of_an_earlier_run_are_a_valid_trace(tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    file.write_bytes(encode_samples([sample(1, when=3.5), sample(0, when=1.0)]))

    assert traces.read_trace(file) == (0.0, 2.5)


@pytest.mark.parametrize("text", ["", "soon\n", "1\ninf\n", '{"at": 7}\n'])
def test_the_error_of_an_invalid_trace_names_the_expected_format(text: str, tmp_path: Path) -> None:
    file = tmp_path / "trace"
    file.write_text(text)
    with pytest.raises(TraceUnreadable, match=r"a number of seconds on each line"):
        traces.read_trace(file)


def test_the_error_of_a_missing_trace_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(TraceUnreadable, match="missing"):
        traces.read_trace(tmp_path / "missing")
