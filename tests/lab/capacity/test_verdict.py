"""The verdict on a stored measurement: predictions beside measured figures, and the exit status of the command."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from prebook.cli.main import main
from prebook.flows import PROCESSES
from prebook.lab.bench.subjects.ride_baseline import PlanBaseline, RideBaseline
from prebook.lab.capacity.recording import (
    CapacityRecording,
    QueueSample,
    RecordedBurst,
    RecordedSecond,
    encode_recording,
    read_recording,
)
from prebook.lab.capacity.verdict import predictions

KNEE = 2.0 / 0.025
"""Rides/s of two cores at 25 ms a ride: eight processes at 3 ms, and the generator at 1 ms."""


def recording(knee_per_s: float, settled: int) -> CapacityRecording:
    cpu_ms = dict.fromkeys((*PROCESSES, "broker", "database"), 3.0)
    plan = PlanBaseline(cpu_ms=cpu_ms, busy_cpu_ms={}, counts={}, knee_per_s=knee_per_s)
    queues = {"pricing.requests": QueueSample(1, 2, 3.5, 4.5)}
    busy = [RecordedSecond(offered=400, accepted=80, settled=settled, oldest_s=3.0, queues=queues)] * 20
    return CapacityRecording(
        commit="abc",
        plan="one_way",
        cores=2,
        costs=RideBaseline(measured_on="2026-12-01", machine="2 x CPU", versions="R, P", plans={"one_way": plan}),
        generator_ms=1.0,
        knee_limit="",
        burst=RecordedBurst(rides_per_s=400, duration_s=20, seconds=(*busy, RecordedSecond(0, 0, 3))),
    )


def test_the_knee_of_a_machine_includes_its_load_generator() -> None:
    assert next(each.predicted for each in predictions(recording(KNEE, 70)) if each.name == "knee") == KNEE


@pytest.mark.parametrize(
    ("knee_per_s", "settled", "accepted"),
    [(KNEE, 66, True), (KNEE / 1.15, 66, True), (KNEE / 1.3, 66, False), (KNEE * 1.3, 66, False), (KNEE, 30, False)],
)
def test_a_prediction_is_accepted_within_a_fifth(
    tmp_path: Path, knee_per_s: float, settled: int, accepted: bool
) -> None:
    path = tmp_path / "recording.json"
    path.write_bytes(encode_recording(recording(knee_per_s, settled)))
    result = CliRunner().invoke(main, ["capacity", "check", "--recording", str(path)])
    assert result.exit_code == (0 if accepted else 1), result.output
    assert ("NOT MET" in result.output) is not accepted


def test_the_age_of_requests_is_shown_and_not_judged() -> None:
    (age,) = [each for each in predictions(recording(KNEE, 66)) if each.unit == "s"]
    assert age.ok
    assert age.measured == 3.0


def test_a_recording_has_one_line_for_each_second_and_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "recording.json"
    path.write_bytes(encode_recording(recording(KNEE, 66)))
    assert read_recording(path) == recording(KNEE, 66)
    assert sum(line.startswith('{"offered"') for line in path.read_text().splitlines()) == 21


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recording.json"
    path.write_text("{}")
    result = CliRunner().invoke(main, ["capacity", "check", "--recording", str(path)])
    assert result.exit_code == 1
    assert "record one: prebook capacity check --output" in result.output
