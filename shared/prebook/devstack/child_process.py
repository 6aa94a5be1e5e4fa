"""Child processes that end with this one, and the ends of their logs."""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LOG_TAIL_BYTES = 600
GROUP_EXIT_TIMEOUT_S = 2.0
"""Killed processes disappear at once, except in a container without an init process that reaps orphans."""
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class OsUser:
    """The user that a process runs as."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Command:
    """A command to run. ``log_file`` receives stdout and stderr, which are inherited if it is None.

    ``user``: None for the current user.
    """

    args: Sequence[str | Path]
    env: Mapping[str, str]
    log_file: Path | None = None
    user: OsUser | None = None
    stop_signal: signal.Signals = signal.SIGTERM

    def log_tail(self) -> str:
        """Return the end of the log, for an error message."""
        if self.log_file is None or not self.log_file.exists():
            return "(its log is on the standard output)"
        return read_tail(self.log_file).strip() or "(its log is empty)"


class ChildProcess:
    """A process in a session of its own, so that Ctrl-C reaches only this one, which stops its children in order."""

    def __init__(self, command: Command, process: asyncio.subprocess.Process) -> None:
        self.command = command
        self.pid = process.pid
        self._process = process

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for the end of the process and return its exit status, negative for a signal."""
        return await self._process.wait()

    def send_signal(self, number: signal.Signals) -> bool:
        """Send a signal and return whether the process still existed.

        The signal goes to the process id. The process object would poll for the end of the child first, and so take
        the exit status away from a task that waits for it.
        """
        if self.status is not None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False

    async def stop(self, grace_period_s: float) -> int:
        """Send the stop signal, and SIGKILL after the grace period. A process under SIGSTOP is continued first."""
        self.send_signal(self.command.stop_signal)
        self.send_signal(signal.SIGCONT)
        try:
            async with asyncio.timeout(grace_period_s):
                return await self.wait()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """Kill the process and its group, wait for both, and return the exit status.

        A surviving child would still write into directories that are removed next. Processes with a session of their
        own, such as PostgreSQL's, are not reached.
        """
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)  # before the child is reaped: until then no other process gets its pid
        status = await self.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GROUP_EXIT_TIMEOUT_S):
                while self._has_group_members():  # noqa: ASYNC110 - orphans give no notice of their end
                    await asyncio.sleep(0.01)
        return status

    def _has_group_members(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except OSError:
            return False
        return True


async def spawn(command: Command) -> ChildProcess:
    """Start the program and return its process. Raises OSError if it cannot be started."""
    sink = command.log_file.open("ab") if command.log_file else None
    user = command.user
    try:
        process = await asyncio.create_subprocess_exec(
            *map(str, command.args),
            env=dict(command.env),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT if sink else None,
            start_new_session=True,
            preexec_fn=_die_with_parent(command.stop_signal),
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=[] if user else None,
        )
    finally:
        if sink:
            sink.close()
    return ChildProcess(command, process)


async def run(command: Command, timeout_s: float) -> int:
    """Run the command and return its exit status; it is killed at a timeout or a cancellation.

    Raises TimeoutError, OSError.
    """
    child = await spawn(command)
    try:
        async with asyncio.timeout(timeout_s):
            return await child.wait()
    finally:
        if child.status is None:
            await child.kill()


def read_tail(log_file: Path, max_bytes: int = LOG_TAIL_BYTES) -> str:
    """Read the last ``max_bytes`` bytes of a log file as text. Raises OSError."""
    with log_file.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - max_bytes))
        return file.read().decode(errors="replace")


def _die_with_parent(stop_signal: signal.Signals) -> Callable[[], None] | None:
    """Return a function for the new child: the kernel signals the child when this process dies, even by SIGKILL.

    None on systems other than Linux, where children end only if this process stops them.
    """
    if _LIBC is None:
        return None
    libc = _LIBC
    parent_pid = os.getpid()

    def request_death_signal() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, stop_signal.value)
        if os.getppid() != parent_pid:  # the parent died between the fork and the line above
            os._exit(1)

    return request_death_signal
