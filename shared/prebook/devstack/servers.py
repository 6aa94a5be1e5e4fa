"""Broker and database: their URLs and credentials, and the protocols of the servers that run them."""

import signal
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from prebook.devstack.supervisor.contract import WriteFault

Log = Callable[[str], None]
"""Receives one line of progress for the user."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Broker:
    """A broker, with URLs and credentials of an administrator.

    ``pid`` is None where the process is not on this machine.

    Of several nodes, ``amqp_url``, ``management_url`` and ``pid`` are the first one's.
    """

    name: str
    version: str
    amqp_url: str
    management_url: str
    user: str
    password: str
    pid: int | None = None
    other_amqp_urls: Sequence[str] = ()

    @property
    def amqp_urls(self) -> Sequence[str]:
        """AMQP URL of each node."""
        return (self.amqp_url, *self.other_amqp_urls)


@dataclass(frozen=True, kw_only=True, repr=False)
class Database:
    """A database and its administrator's ``url``, ``postgresql+asyncpg://``. ``pid``: None on another machine."""

    name: str
    version: str
    url: str
    pid: int | None = None


class ServerChild(Protocol):
    """The process of a server: a child process, or one in another container."""

    @property
    def pid(self) -> int:
        """Process id, in the process's own container."""
        ...

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs."""
        ...

    def send_signal(self, number: signal.Signals) -> bool:
        """Send a signal and return whether the process still existed. Raises UserError."""
        ...

    async def wait(self) -> int:
        """Wait for the end of the process and return its exit status."""
        ...

    async def stop(self, grace_period_s: float) -> int:
        """End the process in an orderly way, by SIGKILL after the grace period. Raises UserError."""
        ...

    async def kill(self) -> int:
        """Kill the process, wait for its end, and return the exit status. Raises UserError."""
        ...


class ServerProcess(Protocol):
    """A broker node or the database as a process that may be ended and started again."""

    @property
    def child(self) -> ServerChild | None:
        """Current process, which may have ended."""
        ...

    async def restart(self) -> None:
        """Start again on the same data, ports and credentials; ready when this returns. Raises UserError."""
        ...


@runtime_checkable
class SupportsMemoryAlarm(Protocol):
    """A broker node, which blocks publishers when its memory exceeds a watermark."""

    async def set_memory_watermark(self, watermark: str | None) -> None:
        """Set the watermark in RabbitMQ's notation, such as ``512MB``; None restores the default. Raises UserError."""
        ...


@runtime_checkable
class SupportsAcknowledgementTimeout(Protocol):
    """A broker node, which takes a message back from a consumer that leaves it unacknowledged for too long."""

    async def set_acknowledgement_timeout(self, timeout_s: float | None) -> None:
        """Set the limit for channels that are opened from now on; None restores the default. Raises UserError."""
        ...


@runtime_checkable
class SupportsWriteFaults(Protocol):
    """A database that can be kept from writing while it answers."""

    def prevent_writes(self, fault: WriteFault) -> AbstractAsyncContextManager[None]:
        """Return a context manager that keeps all services from writing during its block. Raises UserError."""
        ...


class BrokerServer(Protocol):
    """Runs a broker, or finds an external one."""

    async def start(self) -> Broker:
        """Return the broker once it is ready. Raises UserError."""
        ...

    async def stop(self) -> None:
        """Stop the broker, unless it is external. May follow any start, also a failed or cancelled one."""
        ...

    @property
    def processes(self) -> Sequence[ServerProcess]:
        """Child processes, none where it is external or in a container; the first is the one that ``Broker`` names."""
        ...


class DatabaseServer(Protocol):
    """Runs a database, or finds an external one."""

    async def start(self) -> Database:
        """Return the database once it is ready. Raises UserError."""
        ...

    async def stop(self) -> None:
        """Stop the database, unless it is external. May follow any start, also a failed or cancelled one."""
        ...

    @property
    def processes(self) -> Sequence[ServerProcess]:
        """Child process of the database, if it is one; none where it is external or in a container."""
        ...
