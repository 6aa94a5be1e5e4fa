"""What a suite runs on, once it is there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from prebook.devstack.child_process import ChildProcess

Log = Callable[[str], None]
"""Takes one line of progress, for a person."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Broker:
    """URLs and credentials of an administrator. ``pid`` is None where the process is not ours to look at.

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
        """One for each node."""
        return (self.amqp_url, *self.other_amqp_urls)


@dataclass(frozen=True, kw_only=True, repr=False)
class Database:
    """``url`` is an administrator's, ``postgresql+asyncpg://``."""

    name: str
    version: str
    url: str
    pid: int | None = None


class ServerProcess(Protocol):
    """A process of ours that is a part, or one of several that are: it may be ended, and started again."""

    @property
    def child(self) -> ChildProcess | None:
        """The process now, which may have ended."""
        ...

    async def restart(self) -> None:
        """Started again on the same data, ports and credentials, and ready. Raises UserError."""
        ...


@runtime_checkable
class SupportsMemoryAlarm(Protocol):
    """A Member that stops taking messages in when it has too little memory."""

    async def set_memory_watermark(self, watermark: str | None) -> None:
        """``limit`` as RabbitMQ writes it, ``512MB``; None: what is configured. Raises UserError."""
        ...


class BrokerServer(Protocol):
    """A way to have a broker. ``stop`` may be called after any start, a failed or cancelled one too."""

    async def start(self) -> Broker:
        """Raises UserError."""
        ...

    async def stop(self) -> None: ...

    @property
    def processes(self) -> Sequence[ServerProcess]:
        """Its processes, where they are ours; the first is the one that ``Broker`` names."""
        ...


class DatabaseServer(Protocol):
    """As BrokerPart."""

    async def start(self) -> Database:
        """Raises UserError."""
        ...

    async def stop(self) -> None: ...

    @property
    def processes(self) -> Sequence[ServerProcess]: ...
