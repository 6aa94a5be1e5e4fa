"""Broker and database in containers of their own, restarted by the control loop that runs beside each of them.

The loop is ``deploy/container/supervise-server``: the server is its child, and it shares a folder with the console.
"""

import asyncio
import os
import secrets
import signal
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from prebook.devstack.database.write_faults import prevent_writes
from prebook.devstack.errors import UserError
from prebook.devstack.polling import wait_until
from prebook.devstack.supervisor.contract import WriteFault

POLL_INTERVAL_S = 0.05
ANSWER_TIMEOUT_S = 40.0
"""Seconds for one request; an orderly stop of a server, or a start of rabbitmqctl, takes most of them."""
READY_TIMEOUT_S = 60.0
LOOP_REMEDY = "`docker compose ps -a` and `docker compose logs` show why; `docker compose up` starts it again"


@dataclass(frozen=True)
class ControlLoop:
    """Client of the control loop of one server. ``folder``: the folder that both share."""

    folder: Path

    def read_pid(self) -> int | None:
        """Return the server's pid in its container; None while it is down, or no loop has run yet."""
        try:
            pid, _ = map(int, (self.folder / "state").read_text().split())
        except (OSError, ValueError):
            return None
        return pid or None

    def send(self, *words: str) -> str:
        """Send a request and return its id. Raises UserError if no loop reads requests."""
        request_id = secrets.token_hex(8)
        try:
            requests = os.open(self.folder / "requests", os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.write(requests, f"{' '.join((request_id, *words))}\n".encode())
            finally:
                os.close(requests)
        except OSError as error:
            raise UserError(
                f"{self.folder.name}: no control loop reads requests: {error.strerror}", LOOP_REMEDY
            ) from error
        return request_id

    async def call(self, *words: str) -> None:
        """Send a request and wait until it has been carried out. Raises UserError if it fails."""
        request_id = self.send(*words)
        what = f"{self.folder.name}: the request `{words[0]}`"

        async def is_answered() -> bool:
            return self._read_answer()[:1] == [request_id]

        await wait_until(is_answered, ANSWER_TIMEOUT_S, subject=what, remedy=LOOP_REMEDY)
        if (status := self._read_answer()[-1]) != "0":
            raise UserError(f"{what} ended with status {status}", LOOP_REMEDY)

    def _read_answer(self) -> list[str]:
        try:
            return (self.folder / "response").read_text().split()
        except OSError:
            return []


class RemoteChild:
    """A server's process in another container; implements ServerChild."""

    def __init__(self, loop: ControlLoop, pid: int) -> None:
        self._loop = loop
        self.pid = pid

    @property
    def status(self) -> int | None:
        """None while it runs; 0 once it has ended, in whatever way."""
        return None if self._loop.read_pid() == self.pid else 0

    def send_signal(self, number: signal.Signals) -> bool:
        """Kill the process; no other signal can be sent. Returns whether it still existed. Raises UserError."""
        if number is not signal.SIGKILL:
            raise ValueError(f"a server in a container takes SIGKILL only, not {number.name}")
        if self.status is not None:
            return False
        self._loop.send("kill")
        return True

    async def wait(self) -> int:
        """Wait for the end of the process."""
        while self.status is None:  # noqa: ASYNC110 - the end of a process in another container gives no notice
            await asyncio.sleep(POLL_INTERVAL_S)
        return 0

    async def stop(self, grace_period_s: float) -> int:
        """Stop the server in an orderly way; the loop kills it if that takes too long. Raises UserError."""
        self._loop.send("stop")
        async with asyncio.timeout(grace_period_s):
            return await self.wait()

    async def kill(self) -> int:
        """Kill the process and wait for its end. Raises UserError."""
        self.send_signal(signal.SIGKILL)
        return await self.wait()


class RemoteServer:
    """A server in another container; implements ServerProcess. ``is_ready`` queries it once."""

    def __init__(self, loop: ControlLoop, is_ready: Callable[[], Awaitable[bool]]) -> None:
        self._loop = loop
        self._is_ready = is_ready

    @property
    def child(self) -> RemoteChild | None:
        """Current process; None while the server is down."""
        pid = self._loop.read_pid()
        return RemoteChild(self._loop, pid) if pid else None

    async def restart(self) -> None:
        """Start the server again; ready when this returns. Raises UserError."""
        await self._loop.call("start")
        await wait_until(self._is_ready, READY_TIMEOUT_S, subject=self._loop.folder.name, remedy=LOOP_REMEDY)


class RemoteBroker(RemoteServer):
    """A broker in another container, which has a memory alarm."""

    async def set_memory_watermark(self, watermark: str | None) -> None:
        """Implement SupportsMemoryAlarm."""
        await self._loop.call("watermark", *([watermark] if watermark else []))


class RemoteDatabase(RemoteServer):
    """A database in another container, which can be kept from writing. ``dsn``: its administrator's URL."""

    def __init__(self, loop: ControlLoop, is_ready: Callable[[], Awaitable[bool]], dsn: str) -> None:
        super().__init__(loop, is_ready)
        self._dsn = dsn

    def prevent_writes(self, fault: WriteFault) -> AbstractAsyncContextManager[None]:
        """Implement SupportsWriteFaults."""
        return prevent_writes(fault, self._dsn)
