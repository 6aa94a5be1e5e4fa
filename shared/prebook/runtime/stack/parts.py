"""What a suite runs on, once it is there."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Say = Callable[[str], None]
"""Takes one line of progress, for a person."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Broker:
    """URLs and credentials of an administrator. ``pid`` is None where the process is not ours to look at."""

    name: str
    version: str
    amqp_url: str
    management_url: str
    user: str
    password: str
    pid: int | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Database:
    """``url`` is an administrator's, ``postgresql+asyncpg://``."""

    name: str
    version: str
    url: str
    pid: int | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Parts:
    """``mode`` is local, docker, mixed or external: who runs the parts. ``data_dir`` is removed with them."""

    mode: str
    broker: Broker
    database: Database
    data_dir: Path


class BrokerPart(Protocol):
    """A way to have a broker. ``stop`` may be called after any start, a failed or cancelled one too."""

    async def start(self) -> Broker:
        """Raises Trouble."""
        ...

    async def stop(self) -> None: ...


class DatabasePart(Protocol):
    """As BrokerPart."""

    async def start(self) -> Database:
        """Raises Trouble."""
        ...

    async def stop(self) -> None: ...
