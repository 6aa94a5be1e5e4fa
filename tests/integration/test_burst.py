"""`prebook load burst` as a program: a small burst on its own two suites, and one report of both."""

import os
from pathlib import Path

import msgspec
import pytest

from prebook.lab.burst.judge import BurstReport
from prebook.lab.burst.model import BurstSide
from prebook.lab.load.samples import Sample
from tests.integration.suite import PREBOOK, run_command

pytestmark = [pytest.mark.real, pytest.mark.long, pytest.mark.timeout(280)]
CAPACITY = 8
FACTOR = 2
DURATION_S = 4
SEED = 7
TIMEOUT_S = 240.0
FILES = {"on.json", "off.json", "samples-on.jsonl", "samples-off.jsonl", "report.json", "report.html"}


def offers(side: BurstSide) -> list[tuple[float, str]]:
    """Return (time, label) of every offered ride; times are rounded to 10 ms, because both sides round differently."""
    return sorted((round(ride.offered_s, 2), ride.label) for ride in side.rides)


def test_a_burst_is_measured_every_second_with_and_without_back_pressure(tmp_path: Path) -> None:
    options = {
        "capacity": CAPACITY,
        "factor": FACTOR,
        "duration": DURATION_S,
        "seed": SEED,
        "report": tmp_path / "burst",
    }
    arguments = ("load", "burst", "--json", *(f"--{name}={value}" for name, value in options.items()))
    env = {**os.environ, "PREBOOK_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = run_command([*PREBOOK, *arguments], env, timeout_s=TIMEOUT_S)
    assert done.stdout, done.stderr[-6000:]
    report = msgspec.json.decode(done.stdout, type=BurstReport)

    # Other checks depend on the speed of this machine; the promises to riders do not.
    failed = {(check.side, check.name) for check in report.verdict.checks if check.ok is False}
    all_ok = all(check.ok for check in report.verdict.checks if check.due)
    assert (done.returncode == 0) == report.verdict.ok == all_ok
    assert not {name for _, name in failed} & {"rides lost", "rides duplicated", "rides refused without Retry-After"}, (
        done
    )
    on, off = report.sides
    assert [side.back_pressure for side in report.sides] == ["on", "off"]
    assert offers(on) == offers(off)
    for side in report.sides:
        assert len(side.snapshots) >= DURATION_S
        assert {"broker", "booking", "pricing"} <= side.snapshots[-1].memory_mb.keys()
        assert any("database" in second.memory_mb for second in side.snapshots)
        assert all(second.pending_requests is not None and second.queued is not None for second in side.snapshots[:2])
    assert {path.name for path in (tmp_path / "burst").iterdir()} == FILES
    samples = (tmp_path / "burst" / "samples-on.jsonl").read_bytes().splitlines()
    assert all(msgspec.json.decode(line, type=Sample).outcome for line in samples)
