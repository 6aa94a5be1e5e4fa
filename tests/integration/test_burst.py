"""`prebook load burst` as somebody runs it: a small burst on two suites of its own, and a report of both."""

import os
from pathlib import Path

import msgspec
import pytest

from prebook.lab.burst.judge import BurstReport
from prebook.lab.burst.model import BurstSide
from prebook.lab.load.samples import Sample
from tests.integration.suite import PREBOOK, run_command

pytestmark = [pytest.mark.real, pytest.mark.long, pytest.mark.timeout(280)]
CAPACITY, FACTOR, LASTS_S, SEED, WITHIN_S = 8, 2, 4, 7, 240.0
FILES = {"on.json", "off.json", "samples-on.jsonl", "samples-off.jsonl", "report.json", "report.html"}


def offers(side: BurstSide) -> list[tuple[float, str]]:
    """Which ride was offered when; the ends of a millisecond may be told on either side of it."""
    return sorted((round(ride.offered_s, 2), ride.label) for ride in side.rides)


def test_a_burst_is_measured_second_by_second_with_back_pressure_and_without(tmp_path: Path) -> None:
    wanted = {"capacity": CAPACITY, "factor": FACTOR, "duration": LASTS_S, "seed": SEED, "report": tmp_path / "burst"}
    arguments = ("load", "burst", "--json", *(f"--{name}={value}" for name, value in wanted.items()))
    env = {**os.environ, "PREBOOK_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = run_command([*PREBOOK, *arguments], env, timeout_s=WITHIN_S)
    assert done.stdout, done.stderr[-6000:]
    made = msgspec.json.decode(done.stdout, type=BurstReport)

    # How fast this machine is decides what else passes; what was promised to riders does not depend on it.
    failed = {(check.side, check.name) for check in made.verdict.checks if check.ok is False}
    held = all(check.ok for check in made.verdict.checks if check.due)
    assert (done.returncode == 0) == made.verdict.ok == held
    assert not {name for _, name in failed} & {"rides lost", "rides duplicated", "rides refused without Retry-After"}, (
        done
    )
    on, off = made.sides
    assert [side.back_pressure for side in made.sides] == ["on", "off"]
    assert offers(on) == offers(off)
    for side in made.sides:
        assert len(side.snapshots) >= LASTS_S
        assert {"broker", "booking", "pricing"} <= side.snapshots[-1].memory_mb.keys()
        assert any("database" in second.memory_mb for second in side.snapshots)
        assert all(second.pending_requests is not None and second.queued is not None for second in side.snapshots[:2])
    assert {path.name for path in (tmp_path / "burst").iterdir()} == FILES
    kept = (tmp_path / "burst" / "samples-on.jsonl").read_bytes().splitlines()
    assert all(msgspec.json.decode(line, type=Sample).outcome for line in kept)
