"""Signals that end a command, and its output once the terminal is closed."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

TIMEOUT_S = 20.0
SURVIVAL_S = 0.5
PROGRAM = """
import asyncio, sys
from pathlib import Path
from prebook.devstack.command_line import Interrupted, log_to_stderr, run_interruptible

async def work():
    Path(sys.argv[1], "started").touch()
    try:
        await asyncio.sleep(60)
    finally:
        log_to_stderr("stopping the first")
        await asyncio.sleep(0.1)
        log_to_stderr("stopping the second")
        Path(sys.argv[1], "stopped").touch()

try:
    run_interruptible(work())
except Interrupted:
    sys.exit(130)
"""


def start(folder: Path, *prefix: str, **options: object) -> subprocess.Popen[bytes]:
    command = [*prefix, sys.executable, "-c", PROGRAM, str(folder)]
    process: subprocess.Popen[bytes] = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    deadline = time.monotonic() + TIMEOUT_S
    while not (folder / "started").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


def test_a_command_under_nohup_survives_the_terminal_and_still_stops_at_sigterm(tmp_path: Path) -> None:
    process = start(tmp_path, "nohup", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(SURVIVAL_S)
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 130
        assert (tmp_path / "stopped").exists()
    finally:
        process.kill()


def test_a_closed_terminal_stops_a_command_as_ctrl_c_does(tmp_path: Path) -> None:
    terminal, end = pty.openpty()

    def make_controlling() -> None:
        os.setsid()
        fcntl.ioctl(end, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    process = start(tmp_path, stdout=end, stderr=end, preexec_fn=make_controlling)
    try:
        os.close(end)
        os.close(terminal)
        assert process.wait(TIMEOUT_S) == 130
        assert (tmp_path / "stopped").exists()
    finally:
        process.kill()
