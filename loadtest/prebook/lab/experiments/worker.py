"""What the worker processes of all experiments have in common: a service's settings, one channel, and a time limit."""

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
"""For everything that a process does, unless it is known to take longer; what takes longer still hangs."""


@dataclass(frozen=True)
class WorkerContext:
    """What a party stands on."""

    service: str
    settings: ServiceSettings
    policies: Policies


def one_way_channels(publisher: Publisher) -> Channels:
    """Facts are one-way by nature, and the parties speak in facts only."""
    return {Coupling.ONE_WAY: OneWay(publisher)}


class WorkerSpec(Protocol):
    """``env`` is that of the service that it is; ``log`` a file for its output."""

    @property
    def env(self) -> Mapping[str, str]: ...
    @property
    def log_file(self) -> str: ...


def run_worker(
    service: str,
    spec: WorkerSpec,
    work: Callable[[WorkerContext], Awaitable[None]],
    *,
    timeout_s: float = WORKER_TIMEOUT_S,
) -> None:
    """What a process does, from its start to its end in peace or at its crash point."""
    with Path(spec.log_file).open("ab") as sink:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(sink.fileno(), stream.fileno())
    settings, policies = read_settings(spec.env)
    logging.configure(service, "warning")
    asyncio.run(_run_with_timeout(work(WorkerContext(service, settings, policies)), timeout_s))


async def _run_with_timeout(work: Awaitable[None], timeout_s: float) -> None:
    async with asyncio.timeout(timeout_s):
        await work
