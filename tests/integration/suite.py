"""The whole suite as a user starts it: `prebook up`, and everything gone again after Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psutil

from prebook.devstack.child_process import _die_with_parent
from prebook.devstack.suite_state import STATE_FILE, SuiteState
from prebook.flows import PROCESSES, SERVICES
from prebook.messaging.policy import read_policies
from tests.workers import port_base

COUPLINGS = Path(__file__).with_name("couplings.toml")
POLICIES = read_policies(COUPLINGS)
PREBOOK = (sys.executable, "-m", "prebook.cli")
DOWN_WITHIN_S = 30.0
BUSY = 1.5
"""Programs that want each core; above it what takes how long says nothing about the suite."""


@dataclass(frozen=True, repr=False)
class Suite:
    """A running one. ``up_in_s``: from the command until it says that everything is ready."""

    home: Path
    where: SuiteState
    up_in_s: float
    contended: bool
    """Other programs wanted the processors when it started."""
    env: Mapping[str, str]
    """In which other commands find it."""

    @property
    def logs(self) -> Path:
        return Path(self.where.logs)

    def prebook(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line, as somebody in another terminal uses it."""
        return ran([*PREBOOK, *arguments], self.env)


@contextmanager
def started(stack: Mapping[str, str], home: Path) -> Iterator[Suite]:
    """``stack`` holds the settings that say which parts to start, or where they are."""
    env = {**os.environ, "PREBOOK_HOME": str(home), "PREBOOK_COUPLINGS": str(COUPLINGS)}
    contended = os.getloadavg()[0] > BUSY * (os.cpu_count() or 1)
    began = time.monotonic()
    with (home.parent / "up.log").open("wb") as progress:
        command = [*PREBOOK, "up", "--json", "--port-base", str(_port_base(stack))]
        streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": progress}
        # A worker that is ended in the middle, as by Ctrl-C, takes its suite along.
        tied: dict[str, Any] = {"start_new_session": True, "preexec_fn": _die_with_parent(signal.SIGINT)}
        up = subprocess.Popen(command, env={**env, **stack}, **tied, **streams)
        try:
            _until_ready(up, Path(progress.name))
            where = msgspec.json.decode((home / STATE_FILE).read_bytes(), type=SuiteState)
            yield Suite(home, where, time.monotonic() - began, contended, env)
        finally:
            _stop(up)
    assert not (home / STATE_FILE).exists(), "the whereabouts of a suite go with it"


def processes(where: SuiteState) -> list[psutil.Process]:
    """The supervisor, and everything below it: services, and the parts that it runs itself."""
    owner = psutil.Process(where.owner_pid)
    return [owner, *owner.children(recursive=True)]


def ran(
    command: Sequence[str], env: Mapping[str, str], *, cwd: Path | None = None, within_s: float = 40.0
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=within_s, check=False)


def _until_ready(up: subprocess.Popen[bytes], progress: Path) -> None:
    """It prints one line once everything is ready; it ends, saying why, where that cannot be."""
    assert up.stdout is not None
    if not up.stdout.readline():
        raise AssertionError(f"prebook up ended with status {up.wait(DOWN_WITHIN_S)}: {progress.read_text()}")


def _stop(up: subprocess.Popen[bytes]) -> None:
    below = psutil.Process(up.pid).children(recursive=True) if up.poll() is None else []
    up.send_signal(signal.SIGINT)
    try:
        up.wait(DOWN_WITHIN_S)
    finally:
        left = psutil.wait_procs(below, timeout=3)[1]
        for process in [p for p in left if p.is_running()]:
            process.kill()
        up.kill()
        assert up.stdout is not None
        up.stdout.close()
    assert not left, f"still there after Ctrl-C: {left}"


def _port_base(stack: Mapping[str, str]) -> int:
    """For as many as a suite takes."""
    return port_base(len(PROCESSES) + 1 + (int(stack.get("PREBOOK_REPLICAS", "1")) - 1) * len(SERVICES))
