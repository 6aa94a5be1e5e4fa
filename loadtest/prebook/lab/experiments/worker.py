"""Common parts of all worker processes: a service's settings, the one-way channel, and a time limit."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prebook.contracts.plan import Coupling
from prebook.coupling.one_way import OneWay
from prebook.coupling.ports import Publisher
from prebook.messaging.channel import Channels
from prebook.messaging.policy import Policies
from prebook.runtime import logging
from prebook.runtime.settings import ServiceSettings, read_settings

WORKER_TIMEOUT_S = 40.0
"""Default time limit of a worker process; a worker that exceeds its limit hangs."""


@dataclass(frozen=True)
class WorkerContext:
    """Service name, settings and policies of a worker process."""

    service: str
    settings: ServiceSettings
    policies: Policies


def one_way_channels(publisher: Publisher) -> Channels:
    """Return the channels of a worker, which publishes events only."""
    return {Coupling.ONE_WAY: OneWay(publisher)}


class ReadinessFile:
    """Part of a worker's spec: the file by which the worker says that it is ready. Its values are not printed."""

    ready_path: str

    @property
    def is_ready(self) -> bool:
        """Whether the worker has said that it consumes, or listens."""
        return Path(self.ready_path).exists()

    def mark_ready(self) -> None:
        """Say that the worker consumes, or listens."""
        Path(self.ready_path).touch()

    def clear_ready(self) -> None:
        """Forget an ended worker."""
        Path(self.ready_path).unlink()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<not printed: it holds secrets>)"


class WorkerSpec(Protocol):
    """Arguments of every worker process: the environment of the service it acts as, and a file for its output."""

    @property
    def env(self) -> Mapping[str, str]:
        """Environment variables of the service."""
        ...

    @property
    def log_file(self) -> str:
        """Path of the file for stdout and stderr."""
        ...


def redirect_output(log_file: str) -> None:
    """Write stdout and stderr of this process to a file from now on."""
    with Path(log_file).open("ab") as log:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())


def run_worker(
    service: str,
    spec: WorkerSpec,
    work: Callable[[WorkerContext], Awaitable[None]],
    *,
    timeout_s: float = WORKER_TIMEOUT_S,
) -> None:
    """Run ``work`` in this process, with output to the log file. Raises TimeoutError after ``timeout_s`` seconds."""
    redirect_output(spec.log_file)
    settings, policies = read_settings(spec.env)
    logging.configure(service, "warning")
    asyncio.run(_run_with_timeout(work(WorkerContext(service, settings, policies)), timeout_s))


async def _run_with_timeout(work: Awaitable[None], timeout_s: float) -> None:
    async with asyncio.timeout(timeout_s):
        await work
