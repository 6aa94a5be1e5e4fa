"""Start and stop of the whole suite as by a user: with `prebook up` and Ctrl-C."""

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
from prebook.devstack.service_environment import count_ports
from prebook.devstack.suite_state import STATE_FILE, SuiteState
from prebook.messaging.policy import read_policies
from tests.workers import port_base

COUPLINGS = Path(__file__).with_name("couplings.toml")
POLICIES = read_policies(COUPLINGS)
PREBOOK = (sys.executable, "-m", "prebook.cli")
STOP_TIMEOUT_S = 30.0
STRANDED = "booking without a deadline ended"
"""Log event of the sweeper, whose counter does not survive a restart of its process."""
MAX_LOAD_PER_CORE = 1.5
"""Load average per core above which durations say nothing about the suite."""


@dataclass(frozen=True, repr=False)
class Suite:
    """A running suite."""

    home: Path
    state: SuiteState
    startup_s: float
    """Seconds from the start of the command until it reports that everything is ready."""
    contended: bool
    """Whether other programs used the processors when the suite started."""
    env: Mapping[str, str]
    """Environment in which other commands find the suite."""

    @property
    def logs(self) -> Path:
        return Path(self.state.logs)

    def prebook(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a `prebook` command, as from another terminal."""
        return run_command([*PREBOOK, *arguments], self.env)


@contextmanager
def start_suite(stack: Mapping[str, str], home: Path) -> Iterator[Suite]:
    """Start a suite in ``home`` and stop it at the end; ``stack`` has settings of the servers to start or to use."""
    env = {**os.environ, "PREBOOK_HOME": str(home), "PREBOOK_COUPLINGS": str(COUPLINGS)}
    contended = os.getloadavg()[0] > MAX_LOAD_PER_CORE * (os.cpu_count() or 1)
    began = time.monotonic()
    with (home.parent / "up.log").open("wb") as progress:
        command = [*PREBOOK, "up", "--json", "--port-base", str(_port_base(stack))]
        streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": progress}
        # The suite ends with a test process that is interrupted, as by Ctrl-C.
        session: dict[str, Any] = {"start_new_session": True, "preexec_fn": _die_with_parent(signal.SIGINT)}
        up = subprocess.Popen(command, env={**env, **stack}, **session, **streams)
        try:
            _until_ready(up, Path(progress.name))
            state = msgspec.json.decode((home / STATE_FILE).read_bytes(), type=SuiteState)
            suite = Suite(home, state, time.monotonic() - began, contended, env)
            yield suite
            assert STRANDED not in (suite.logs / "booking.log").read_text(), "a booking was left without a deadline"
        finally:
            _stop(up)
    assert not (home / STATE_FILE).exists(), "the state file is removed with its suite"


def suite_processes(state: SuiteState) -> list[psutil.Process]:
    """Return the supervisor and its descendants: the services, and the servers that it runs itself."""
    owner = psutil.Process(state.owner_pid)
    return [owner, *owner.children(recursive=True)]


def run_command(
    command: Sequence[str], env: Mapping[str, str], *, cwd: Path | None = None, timeout_s: float = 40.0
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=timeout_s, check=False)


def _until_ready(up: subprocess.Popen[bytes], progress: Path) -> None:
    """Wait for the line that `prebook up` prints when everything is ready. Raises AssertionError if it ends instead."""
    assert up.stdout is not None
    if not up.stdout.readline():
        raise AssertionError(f"prebook up ended with status {up.wait(STOP_TIMEOUT_S)}: {progress.read_text()}")


def _stop(up: subprocess.Popen[bytes]) -> None:
    descendants = psutil.Process(up.pid).children(recursive=True) if up.poll() is None else []
    up.send_signal(signal.SIGINT)
    try:
        up.wait(STOP_TIMEOUT_S)
    finally:
        left = psutil.wait_procs(descendants, timeout=3)[1]
        for process in [p for p in left if p.is_running()]:
            process.kill()
        up.kill()
        assert up.stdout is not None
        up.stdout.close()
    assert not left, f"still running after Ctrl-C: {left}"


def _port_base(stack: Mapping[str, str]) -> int:
    """Return the first of enough consecutive free ports for the processes of a suite."""
    return port_base(count_ports(int(stack.get("PREBOOK_REPLICAS", "1"))))
